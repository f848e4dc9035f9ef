import { describe, expect, it } from "vitest";
import { inUnit, unitOf } from "./units";

describe("unitOf", () => {
  it.each([
    [[1, 1e12, null], 1],
    [[0, null], 1],
    [[], 1],
    [[1e-8], 1],
    [[-7e300, 1], 1e300],
    [[1.7e308], 1e308],
    [[3e-300], 1e-300],
    [[5e-324], 1e-307],
  ])("%j", (values, unit) => expect(unitOf([{ values }])).toBe(unit));

  it("is that of the line with the highest values", () => {
    expect(unitOf([{ values: [1] }, { values: [2e20] }])).toBe(1e20);
  });
});

describe("inUnit", () => {
  it("keeps what is missing, and sums finite", () => {
    const [low, , high] = inUnit([-1.7e308, null, 1.7e308], 1e308);
    expect(high! - low!).toBeCloseTo(3.4);
  });
  it("leaves the usual values as they are", () => {
    const values = [1, null];
    expect(inUnit(values, 1)).toBe(values);
  });
});
