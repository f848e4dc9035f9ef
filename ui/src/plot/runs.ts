/** Runs of values that are too short for a line to be seen. */

type Values = readonly (number | null)[];

/** Indexes of the first and the last value. */
export type Run = readonly [first: number, last: number];

/** Return the runs of at most so many values between missing ones. */
export function shortRuns(values: Values, most: number): Run[] {
  const found: Run[] = [];
  let first = -1;
  for (let at = 0; at <= values.length; at += 1) {
    const isThere = (values[at] ?? null) !== null;
    if (isThere && first < 0) first = at;
    if (isThere || first < 0) continue;
    if (at - first <= most) found.push([first, at - 1]);
    first = -1;
  }
  return found;
}
