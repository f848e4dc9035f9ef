import { describe, expect, it } from "vitest";
import { formatOffset, formatRange, formatTime, fromCivil, isZone, parseTime } from "./zone";

const BERLIN = "Europe/Berlin";

describe("times in a zone", () => {
  it("differ between summer and winter", () => {
    expect(formatTime(Date.UTC(2026, 0, 1, 11, 30), BERLIN)).toBe("2026-01-01 12:30:00");
    expect(formatTime(Date.UTC(2026, 6, 1, 11, 30), BERLIN)).toBe("2026-07-01 13:30:00");
    expect(formatOffset(Date.UTC(2026, 6, 1), BERLIN)).toBe("UTC+02:00");
    expect(formatOffset(Date.UTC(2026, 6, 1), "America/St_Johns")).toBe("UTC−02:30");
  });
  it("of a range leave out the year of today and whole minutes", () => {
    const [from, to, now] = [Date.UTC(2026, 2, 1, 9, 30), Date.UTC(2026, 2, 2, 9, 30), Date.UTC(2026, 5, 1)];
    expect(formatRange(from, to, "UTC", now)).toBe("03-01 09:30 – 03-02 09:30");
    expect(formatRange(from, to + 5000, "UTC", now)).toBe("03-01 09:30:00 – 03-02 09:30:05");
    expect(formatRange(from, to, "UTC", Date.UTC(2027, 0, 1))).toBe("2026-03-01 09:30 – 2026-03-02 09:30");
  });
  it("are read back as they were, on both sides of a change", () => {
    for (let hour = 0; hour < 72; hour += 1) {
      for (const start of [Date.UTC(2026, 2, 28), Date.UTC(2026, 9, 26)]) {
        const at = start + hour * 3_600_000;
        expect(parseTime(formatTime(at, BERLIN), BERLIN)).toBe(at);
      }
    }
  });
  it("that clocks skip are those after", () => {
    const skipped = { year: 2026, month: 3, day: 29, hour: 2, minute: 30, second: 0 };
    const at = fromCivil(skipped, BERLIN);
    expect(Math.abs(at - Date.UTC(2026, 2, 29, 1, 0))).toBeLessThanOrEqual(3_600_000);
  });
  it.each(["2026-02-30", "2026-13-01", "2026-01-01 25:00", "yesterday", ""])("refuses %j", (text) =>
    expect(parseTime(text, "UTC")).toBeNull(),
  );
  it("need a zone that there is", () => {
    expect(isZone("Europe/Berlin")).toBe(true);
    expect(isZone("")).toBe(true);
    expect(isZone("Europe/Nowhere")).toBe(false);
  });
});
