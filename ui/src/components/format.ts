/** Numbers as people read them. */

const PREFIXES = [
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
] as const;

/** Write a number with at most six digits, and those before the decimal point. */
export function formatNumber(value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return "—";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e15 || size < 1e-6) return value.toExponential(3).replace("-", "−");
  if (size >= 1e6) return value.toLocaleString("en-US", { maximumFractionDigits: 0 }).replace("-", "−");
  return value.toLocaleString("en-US", { maximumSignificantDigits: 6 }).replace("-", "−");
}

/** Write a number with four digits or a few more: 1.5k, 20M, 7.0e+300. */
export function formatShort(value: number, digits = 4): string {
  const size = Math.abs(value);
  const text = (): string => {
    if (size !== 0 && (size < 1e-4 || size >= 1e15)) return value.toExponential(Math.max(1, digits - 4));
    for (const [factor, prefix] of PREFIXES) {
      if (size >= factor) return `${Number((value / factor).toPrecision(digits))}${prefix}`;
    }
    return String(Number(value.toPrecision(Math.max(6, digits))));
  };
  return text().replaceAll("-", "−");
}

const MOST_DIGITS = 15;

/** Write the numbers of an axis, with as many digits as tell them apart. */
export function formatTicks(values: readonly number[]): string[] {
  const count = new Set(values).size;
  for (let digits = 4; ; digits += 1) {
    const texts = values.map((value) => formatShort(value, digits));
    if (digits === MOST_DIGITS || new Set(texts).size === count) return texts;
  }
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
