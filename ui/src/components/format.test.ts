import { describe, expect, it } from "vitest";
import { formatNumber, formatShare, formatShort, formatTicks } from "./format";

describe("formatNumber", () => {
  it.each([
    [0, "0"],
    [1234567.891, "1,234,568"],
    [999_999.96, "1,000,000"],
    [0.000012345678, "0.0000123457"],
    [-1.5, "−1.5"],
    [1e18, "1.000e+18"],
    [Infinity, "∞"],
    [null, "—"],
  ])("%s", (value, text) => expect(formatNumber(value)).toBe(text));
});

describe("formatShort", () => {
  it.each([
    [1500, "1.5k"],
    [-2e9, "−2G"],
    [0.25, "0.25"],
    [0.00001, "1.0e−5"],
    [0, "0"],
    [7e300, "7.0e+300"],
    [-2.5e-300, "−2.5e−300"],
  ])("%s", (value, text) => expect(formatShort(value)).toBe(text));
});

describe("formatTicks", () => {
  it.each([
    [[0, 500, 1000], ["0", "500", "1k"]],
    [[1_000_010, 1_000_020], ["1.00001M", "1.00002M"]],
    [[1.234_567_1, 1.234_567_2], ["1.2345671", "1.2345672"]],
    [[1.25e300, 1.26e300], ["1.25e+300", "1.26e+300"]],
    [[5, 5], ["5", "5"]],
    [[], []],
  ])("tells %j apart", (values, texts) => expect(formatTicks(values)).toEqual(texts));
});

describe("formatShare", () => {
  it.each([
    [3, 120, "3 / 120 (2.5%)"],
    [0, 0, "0 / 0"],
    [1, 30_000, "1 / 30,000 (0.0033%)"],
    [120, 120, "120 / 120 (100%)"],
  ])("%d of %d", (count, total, text) => expect(formatShare(count, total)).toBe(text));
});
