/** Durations as they are written in configurations and queries: 90s, 1h30m, 2d. */

const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
  y: 31_536_000_000,
};
const PART = /(\d+(?:[.,]\d+)?)(ms|[smhdwy])/gy;

/** Return the milliseconds of a duration; null for what is none. A bare number is seconds. */
export function parseDuration(text: string): number | null {
  const given = text.trim();
  if (/^\d+(?:[.,]\d+)?$/.test(given)) {
    return positive(Number(given.replace(",", ".")) * 1000);
  }
  PART.lastIndex = 0;
  let total = 0;
  let end = 0;
  for (let part = PART.exec(given); part !== null; part = PART.exec(given)) {
    total += Number(part[1]!.replace(",", ".")) * UNITS_MS[part[2]!]!;
    end = PART.lastIndex;
  }
  return end === given.length && end > 0 ? positive(Math.round(total)) : null;
}

function positive(milliseconds: number): number | null {
  return milliseconds > 0 && Number.isFinite(milliseconds) ? milliseconds : null;
}

/** Write milliseconds as the shortest exact duration: 90000 is 1m30s. */
export function formatDuration(milliseconds: number): string {
  let rest = Math.round(milliseconds);
  let text = "";
  for (const unit of ["d", "h", "m", "s", "ms"]) {
    const count = Math.floor(rest / UNITS_MS[unit]!);
    if (count > 0) {
      text += `${count}${unit}`;
      rest -= count * UNITS_MS[unit]!;
    }
  }
  return text || "0s";
}

const STEPS_MS = [
  1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400,
].map((seconds) => seconds * 1000);

/** Return the step that draws a range with at most about 1,500 points. */
export function automaticStep(rangeMs: number): number {
  return STEPS_MS.find((step) => rangeMs / step <= 1500) ?? STEPS_MS[STEPS_MS.length - 1]!;
}
