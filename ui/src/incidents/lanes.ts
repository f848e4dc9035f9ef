/** Where incidents stand below the timeline: no two of a lane overlap. */

export interface Span {
  readonly start: number;
  readonly end: number;
}

/** Return the lane of each span; those that do not fit into so many lanes share the last one. */
export function lanesOf(spans: readonly Span[], nLanes: number, gap: number): number[] {
  const lanes = new Array<number>(spans.length).fill(0);
  const ends: number[] = [];
  const order = spans.map((_, index) => index).sort((a, b) => spans[a]!.start - spans[b]!.start);
  for (const index of order) {
    const { start, end } = spans[index]!;
    let lane = ends.findIndex((until) => until + gap <= start);
    if (lane < 0) lane = Math.min(ends.length, nLanes - 1);
    ends[lane] = Math.max(end, ends[lane] ?? -Infinity);
    lanes[index] = lane;
  }
  return lanes;
}

/** Return the index of each of at most so many groups of neighbors, and the highest value in it. */
export function highestOf(values: readonly number[], nGroups: number): number[] {
  const size = Math.max(1, Math.ceil(values.length / nGroups));
  const highest: number[] = [];
  for (let at = 0; at < values.length; at += size) {
    highest.push(Math.max(...values.slice(at, at + size)));
  }
  return highest;
}
