import { expect, it } from "vitest";
import { statisticsOf } from "./statistics";

it("leaves out what is missing", () => {
  expect(statisticsOf([3, null, -10, 2])).toEqual({ min: -10, median: 2, max: 3 });
  expect(statisticsOf([1, 2])).toEqual({ min: 1, median: 1.5, max: 2 });
  expect(statisticsOf([null])).toEqual({ min: null, median: null, max: null });
});
