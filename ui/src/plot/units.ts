/** Units in which very large and very small values can be drawn: the plot adds and subtracts them. */

import type { Line } from "./Chart";

const SMALLEST = 1e-9;
const LARGEST = 1e15;

/** Return 1, or the power of ten that brings the values of some lines between 1 and 10. */
export function unitOf(lines: readonly Pick<Line, "values">[]): number {
  let highest = 0;
  for (const { values } of lines) {
    for (const value of values) if (value !== null) highest = Math.max(highest, Math.abs(value));
  }
  if (highest === 0 || (highest >= SMALLEST && highest < LARGEST)) return 1;
  // Smaller ones have fewer digits themselves.
  return Number(`1e${Math.max(-307, Math.floor(Math.log10(highest)))}`);
}

/** Return the values in a unit. */
export function inUnit(values: Line["values"], unit: number): Line["values"] {
  return unit === 1 ? values : values.map((value) => (value === null ? null : value / unit));
}
