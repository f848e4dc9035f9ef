import { describe, expect, it } from "vitest";
import { RELATIVE_RANGES, resolve } from "./range";

const NOW = Date.UTC(2026, 2, 30, 10, 0, 0, 250);
const HOUR = 3_600_000;

describe("resolve", () => {
  it("ends relative ranges now, in whole seconds", () => {
    const { from, to } = resolve({ relative: "last_6_hours" }, NOW, "UTC");
    expect(to).toBe(NOW - 250);
    expect(to - from).toBe(6 * HOUR);
  });
  it("takes days of the zone, that of a change of clocks too", () => {
    const berlin = resolve({ relative: "yesterday" }, NOW, "Europe/Berlin");
    expect(new Date(berlin.from).toISOString()).toBe("2026-03-28T23:00:00.000Z");
    expect(berlin.to - berlin.from).toBe(23 * HOUR - 1000);
    const today = resolve({ relative: "today" }, NOW, "UTC");
    expect(today).toEqual({ from: Date.UTC(2026, 2, 30), to: NOW });
  });
  it("knows all names", () => {
    for (const { id } of RELATIVE_RANGES) {
      const { from, to } = resolve({ relative: id }, NOW, "UTC");
      expect(to).toBeGreaterThan(from);
    }
  });
  it("leaves absolute ranges as they are", () => {
    expect(resolve({ from: 1, to: 2 }, NOW, "UTC")).toEqual({ from: 1, to: 2 });
  });
});
