import { describe, expect, it } from "vitest";
import { alignedTo, commonLabels, formatLabels, readSeries, unionOfTimes, withGaps } from "./matrix";

describe("a matrix", () => {
  it("has gaps where a value cannot be drawn", () => {
    const metric = { __name__: "a" };
    const values = [
      [1, "1.5"],
      [2, "NaN"],
      [3, "+Inf"],
      [4, "-2e3"],
    ] as const;
    expect(readSeries({ metric, values }).values).toEqual([1.5, null, null, -2000]);
  });
});

describe("formatLabels", () => {
  it("writes a selector", () => {
    expect(formatLabels({ __name__: "up", job: 'a"b' })).toBe('up{job="a\\"b"}');
    expect(formatLabels({ __name__: "up" })).toBe("up");
    expect(formatLabels({})).toBe("{}");
    expect(formatLabels({ a: "x\u202ey\n" })).toBe('{a="x\\u202ey\\n"}');
    expect(formatLabels({ __name__: "up", a: "1", b: "2" }, new Set(["__name__", "a"]))).toBe('{b="2"}');
  });
});

describe("commonLabels", () => {
  it("are those of all series", () => {
    const found = commonLabels([
      { a: "1", b: "1", c: "1" },
      { a: "1", b: "2" },
    ]);
    expect([...found]).toEqual(["a"]);
    expect(commonLabels([{ a: "1" }]).size).toBe(0);
  });
});

describe("withGaps", () => {
  it.each([
    [[60, 120, 300, 360], 60, [60, 120, 180, 300, 360]],
    [[60, 120, 180], 60, [60, 120, 180]],
    [[0, 10, 20], 60, [0, 10, 20]],
    // Without a step, nothing is known.
    [[0, 10, 90], 0, [0, 10, 90]],
    [[], 60, []],
  ])("%j at a step of %d", (times, step, found) => expect(withGaps(times, step)).toEqual(found));
});

describe("aligning", () => {
  it("puts each value at its time", () => {
    const times = unionOfTimes([
      [1, 3],
      [2, 3, 4],
    ]);
    expect(times).toEqual([1, 2, 3, 4]);
    expect(alignedTo(times, { times: [1, 3], values: [5, 6] })).toEqual([5, null, 6, null]);
    expect(alignedTo([2, 3], { times: [1, 2, 4], values: [5, 6, 7] })).toEqual([6, null]);
  });
});
