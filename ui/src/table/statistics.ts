/** Statistics of the values of a series. */

export interface Statistics {
  readonly min: number | null;
  readonly median: number | null;
  readonly max: number | null;
}

export function statisticsOf(values: readonly (number | null)[]): Statistics {
  const known = values.filter((value): value is number => value !== null).sort((a, b) => a - b);
  if (known.length === 0) return { min: null, median: null, max: null };
  const middle = known.length >> 1;
  const median = known.length % 2 === 1 ? known[middle]! : (known[middle - 1]! + known[middle]!) / 2;
  return { min: known[0]!, median, max: known[known.length - 1]! };
}
