import { expect, it } from "vitest";
import { shortRuns } from "./runs";

it.each([
  [[null, 1, null], 1, [[1, 1]]],
  [[1, null, 2, 3, null, 4, 5, 6], 2, [[0, 0], [2, 3]]],
  [[1, 2], 2, [[0, 1]]],
  [[1, 2, 3], 2, []],
  [[null, null], 2, []],
  [[], 2, []],
])("finds the runs of %j of at most %d", (values, most, runs) => expect(shortRuns(values, most)).toEqual(runs));
