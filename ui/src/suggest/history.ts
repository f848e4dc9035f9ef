/** How much history is looked at. */

import { formatDuration } from "../time/duration";

/** As many points of a series the service reads at once. */
const MOST_POINTS = 30_000;
const DAY_MS = 86_400_000;
const DAYS = [30, 14, 7, 3, 1];
/** Two weeks tell patterns of the week. */
const LONGEST_FIRST_DAYS = 14;

/** Return the lengths that can be looked at with a step, in milliseconds, the longest first. */
export function possibleHistories(stepMs: number): number[] {
  const possible = DAYS.map((days) => days * DAY_MS).filter((length) => length / stepMs <= MOST_POINTS);
  return possible.length > 0 ? possible : [stepMs * MOST_POINTS];
}

/** Return the lengths to try, until one has values in at least half of the series. */
export function historiesToTry(stepMs: number): number[] {
  const possible = possibleHistories(stepMs);
  return possible.filter((length) => length <= LONGEST_FIRST_DAYS * DAY_MS);
}

export const titleOfHistory = (lengthMs: number): string => formatDuration(lengthMs);
