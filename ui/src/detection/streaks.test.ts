import { describe, expect, it } from "vitest";
import { countAnomalies, findStreaks, type Score, summarize } from "./streaks";

/** An independent way to say which points are in a run of at least n: look at each window. */
function naive(scores: readonly Score[], threshold: number, n: number): number {
  let count = 0;
  for (let index = 0; index < scores.length; index += 1) {
    for (let start = index - n + 1; start <= index; start += 1) {
      const window = scores.slice(Math.max(0, start), start + n);
      if (start >= 0 && window.length === n && window.every((s) => s !== null && s > threshold)) {
        count += 1;
        break;
      }
    }
  }
  return count;
}

describe("findStreaks", () => {
  it("takes only scores above the threshold", () => {
    expect(findStreaks([1, 1.1, 2, 1, null, 3], 1)).toEqual([
      { first: 1, last: 2 },
      { first: 5, last: 5 },
    ]);
  });
  it("ends a run where a score is missing", () => {
    expect(findStreaks([2, null, 2], 1)).toHaveLength(2);
  });
  it("finds none in nothing", () => expect(findStreaks([], 1)).toEqual([]));
});

describe("countAnomalies", () => {
  it("agrees with looking at each window", () => {
    let seed = 1;
    const random = (): number => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed / 2_147_483_647;
    };
    for (let trial = 0; trial < 200; trial += 1) {
      const scores = Array.from({ length: 40 }, () => (random() < 0.1 ? null : random() * 2));
      for (const n of [1, 2, 3, 5]) {
        expect(countAnomalies(scores, 0.8, n).points).toBe(naive(scores, 0.8, n));
      }
    }
  });
  it("says what there would be without the minimum", () => {
    const counted = countAnomalies([2, 2, 0, 2, null], 1, 2);
    expect(counted).toEqual({ streaks: [{ first: 0, last: 1 }], points: 2, allStreaks: 2, scored: 4 });
  });
});

describe("summarize", () => {
  it("adds up", () => {
    const all = [countAnomalies([2, 2, 0], 1, 1), countAnomalies([0, 0], 1, 1)];
    expect(summarize(all)).toEqual({ series: [1, 2], points: [2, 5], streaks: [1, 1] });
  });
});
