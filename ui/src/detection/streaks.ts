/** Runs of points whose score is above the threshold. */

/** Indexes of the first and the last point. */
export interface Streak {
  readonly first: number;
  readonly last: number;
}

/** A score, or null where there is none. */
export type Score = number | null;

/** Return all runs of anomalies; a missing score ends a run. */
export function findStreaks(scores: readonly Score[], threshold: number): Streak[] {
  const streaks: Streak[] = [];
  let first = -1;
  for (let index = 0; index <= scores.length; index += 1) {
    const score = scores[index] ?? null;
    if (score !== null && score > threshold) {
      if (first < 0) first = index;
    } else if (first >= 0) {
      streaks.push({ first, last: index - 1 });
      first = -1;
    }
  }
  return streaks;
}

export const lengthOf = ({ first, last }: Streak): number => last - first + 1;

export interface Anomalies {
  /** Runs that count. */
  readonly streaks: readonly Streak[];
  /** How many points they have together. */
  readonly points: number;
  /** How many runs there are of whatever length. */
  readonly allStreaks: number;
  /** How many points have a score. */
  readonly scored: number;
}

/** Return the anomalies that count: those with at least `consecutive` in a row. */
export function countAnomalies(
  scores: readonly Score[],
  threshold: number,
  consecutive: number,
): Anomalies {
  const all = findStreaks(scores, threshold);
  const streaks = all.filter((streak) => lengthOf(streak) >= consecutive);
  return {
    streaks,
    points: streaks.reduce((sum, streak) => sum + lengthOf(streak), 0),
    allStreaks: all.length,
    scored: scores.reduce<number>((count, score) => count + (score === null ? 0 : 1), 0),
  };
}

/** Counts over all series, each with what it is a part of. */
export interface Summary {
  readonly series: readonly [number, number];
  readonly points: readonly [number, number];
  readonly streaks: readonly [number, number];
}

export function summarize(all: readonly Anomalies[]): Summary {
  const sum = (count: (each: Anomalies) => number): number =>
    all.reduce((total, each) => total + count(each), 0);
  return {
    series: [all.filter(({ points }) => points > 0).length, all.length],
    points: [sum(({ points }) => points), sum(({ scored }) => scored)],
    streaks: [sum(({ streaks }) => streaks.length), sum(({ allStreaks }) => allStreaks)],
  };
}
