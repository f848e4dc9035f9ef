/** Numbers as people read them. */

const PREFIXES = [
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
] as const;

/** Write a number with at most six digits. */
export function formatNumber(value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return "—";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e15 || size < 1e-6) return value.toExponential(3).replace("-", "−");
  const digits = Number(value.toPrecision(6));
  return digits.toLocaleString("en-US", { maximumSignificantDigits: 6 }).replace("-", "−");
}

/** Write a number for an axis: 1.5k, 20M. */
export function formatShort(value: number): string {
  const size = Math.abs(value);
  for (const [factor, prefix] of PREFIXES) {
    if (size >= factor) return `${Number((value / factor).toPrecision(4))}${prefix}`.replace("-", "−");
  }
  if (size !== 0 && size < 1e-4) return value.toExponential(1).replace("-", "−");
  return String(Number(value.toPrecision(6))).replace("-", "−");
}

/** Write a count and its share: 3 / 120 (2.5%). */
export function formatShare(count: number, total: number): string {
  const counts = `${formatNumber(count)} / ${formatNumber(total)}`;
  if (total === 0) return counts;
  const percent = (100 * count) / total;
  return `${counts} (${Number(percent.toPrecision(percent < 10 ? 2 : 3))}%)`;
}

export function formatSeconds(seconds: number): string {
  return seconds < 10 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds)} s`;
}
