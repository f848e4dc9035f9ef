/** The matrix of Prometheus' API. */

export type Labels = Readonly<Record<string, string>>;

export interface MatrixSeries {
  readonly metric: Labels;
  readonly values: readonly (readonly [number, string])[];
}

export interface Matrix {
  readonly resultType: string;
  readonly result: readonly MatrixSeries[];
}

/** Times in Unix seconds, ascending, and a value for each; null where there is none. */
export interface Series {
  readonly labels: Labels;
  readonly times: readonly number[];
  readonly values: readonly (number | null)[];
}

/** Read a sample; infinite ones count as missing, as they cannot be drawn. */
export function readValue(text: string): number | null {
  const value = Number(text);
  return Number.isFinite(value) ? value : null;
}

export function readSeries(given: MatrixSeries): Series {
  return {
    labels: given.metric,
    times: given.values.map(([time]) => time),
    values: given.values.map(([, value]) => readValue(value)),
  };
}

/** Write as escapes what is not seen itself, but can hide or turn around what is next to it. */
export function visible(text: string): string {
  return text.replace(UNSEEN, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Control characters, and those that change the direction of text. */
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Write labels as a selector does: `up{job="api"}`. */
export function formatLabels(labels: Labels, hidden: ReadonlySet<string> = new Set()): string {
  const name = hidden.has("__name__") ? "" : (labels.__name__ ?? "");
  const rest = Object.entries(labels)
    .filter(([key]) => key !== "__name__" && !hidden.has(key))
    .map(([key, value]) => `${key}=${visible(JSON.stringify(value))}`);
  if (rest.length === 0) return name || "{}";
  return `${name}{${rest.join(", ")}}`;
}

/** Return the labels with the same value in all of several series; none for a single one. */
export function commonLabels(all: readonly Labels[]): ReadonlySet<string> {
  const [first, ...others] = all;
  if (first === undefined || others.length === 0) return new Set();
  return new Set(
    Object.keys(first).filter((key) => others.every((labels) => labels[key] === first[key])),
  );
}

/** Return all times of several series, ascending and once each. */
export function unionOfTimes(all: readonly (readonly number[])[]): number[] {
  const [first = [], ...others] = all;
  if (others.every((times) => isSame(times, first))) return [...first];
  const union = new Set<number>();
  for (const times of all) for (const time of times) union.add(time);
  return [...union].sort((left, right) => left - right);
}

/** Return times with one more in each gap, where lines end: what is further apart than the step, in seconds. */
export function withGaps(times: readonly number[], step: number): number[] {
  const found: number[] = [];
  times.forEach((time, index) => {
    const before = times[index - 1];
    if (step > 0 && before !== undefined && time - before > 1.5 * step) found.push(before + step);
    found.push(time);
  });
  return found;
}

function isSame(left: readonly number[], right: readonly number[]): boolean {
  return left.length === right.length && left.every((time, index) => time === right[index]);
}

/** Return the values of a series at given times, ascending; null where it has none. */
export function alignedTo(
  times: readonly number[],
  series: Pick<Series, "times" | "values">,
): (number | null)[] {
  let at = 0;
  return times.map((time) => {
    while (at < series.times.length && series.times[at]! < time) at += 1;
    return series.times[at] === time ? (series.values[at] ?? null) : null;
  });
}
