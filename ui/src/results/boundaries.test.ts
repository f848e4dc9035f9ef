import { expect, it } from "vitest";
import { boundariesOf } from "./boundaries";

it("takes the larger of both deviations on each side", () => {
  const spec = { class: "std", min_dev_from_expected: [1, 2], min_rel_dev_from_expected: 10 };
  expect(boundariesOf(spec, [100, 5, null])).toEqual({ lower: [90, 4, null], upper: [110, 7, null] });
});

it("leaves out the side that does not count", () => {
  const spec = { class: "std", min_dev_from_expected: 1, detection_direction: "above_expected" };
  expect(boundariesOf(spec, [5])).toEqual({ lower: [null], upper: [6] });
  expect(boundariesOf({ class: "std" }, [5])).toEqual({ lower: [null], upper: [null] });
});
