import { describe, expect, it } from "vitest";
import { highestOf, lanesOf } from "./lanes";

describe("lanes", () => {
  it("keeps spans apart that overlap", () => {
    const spans = [
      { start: 50, end: 60 },
      { start: 0, end: 20 },
      { start: 10, end: 30 },
      { start: 25, end: 40 },
    ];
    expect(lanesOf(spans, 5, 1)).toEqual([0, 0, 1, 0]);
  });

  it("shares the last lane when there are no more", () => {
    const spans = [0, 1, 2, 3].map((start) => ({ start, end: 100 }));
    expect(lanesOf(spans, 2, 1)).toEqual([0, 1, 1, 1]);
  });
});

describe("bars", () => {
  it("shows the highest of neighbors", () => {
    expect(highestOf([1, 5, 0, 0, 7], 3)).toEqual([5, 0, 7]);
    expect(highestOf([1, 2], 10)).toEqual([1, 2]);
    expect(highestOf([], 10)).toEqual([]);
  });
});
