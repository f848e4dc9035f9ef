import { describe, expect, it } from "vitest";
import { automaticStep, formatDuration, parseDuration } from "./duration";

describe("parseDuration", () => {
  it.each([
    ["90s", 90_000],
    ["1h30m", 5_400_000],
    ["1d", 86_400_000],
    ["250ms", 250],
    ["0.5h", 1_800_000],
    ["1,5m", 90_000],
    ["60", 60_000],
    [" 2w ", 1_209_600_000],
  ])("%s", (text, expected) => expect(parseDuration(text)).toBe(expected));
  it.each(["", "0", "0s", "abc", "1x", "1h 30m", "-5m", "m", "1h30"])("refuses %j", (text) =>
    expect(parseDuration(text)).toBeNull(),
  );
});

describe("formatDuration", () => {
  it.each([
    [90_000, "1m30s"],
    [86_400_000, "1d"],
    [1, "1ms"],
    [0, "0s"],
  ])("%d", (milliseconds, expected) => {
    expect(formatDuration(milliseconds)).toBe(expected);
  });
  it("is read back as it was", () => {
    for (const milliseconds of [1, 999, 61_001, 3_599_000, 694_861_001]) {
      expect(parseDuration(formatDuration(milliseconds))).toBe(milliseconds);
    }
  });
});

describe("automaticStep", () => {
  it.each([
    [3_600_000, 5000],
    [86_400_000, 60_000],
    [7 * 86_400_000, 600_000],
    [5 * 365 * 86_400_000, 86_400_000],
  ])("of %d ms", (range, step) => expect(automaticStep(range)).toBe(step));
});
