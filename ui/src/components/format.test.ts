import { describe, expect, it } from "vitest";
import { formatNumber, formatShare, formatShort } from "./format";

describe("formatNumber", () => {
  it.each([
    [0, "0"],
    [1234567.891, "1,234,570"],
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
  ])("%s", (value, text) => expect(formatShort(value)).toBe(text));
});

describe("formatShare", () => {
  it.each([
    [3, 120, "3 / 120 (2.5%)"],
    [0, 0, "0 / 0"],
    [1, 30_000, "1 / 30,000 (0.0033%)"],
    [120, 120, "120 / 120 (100%)"],
  ])("%d of %d", (count, total, text) => expect(formatShare(count, total)).toBe(text));
});
