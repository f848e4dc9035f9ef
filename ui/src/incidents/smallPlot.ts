/** Paths of a small plot. */

import type { Outputs } from "./api";

type Values = readonly (number | null)[];

export interface SmallPlot {
  /** Lowest and highest value. */
  readonly low: number;
  readonly high: number;
  readonly y: string;
  readonly expected: string;
  readonly band: string;
  /** Where the score is above the threshold. */
  readonly anomalies: string;
}

const EMPTY: Values = [];

/** Return the paths in a box of that size; what was not written leaves its path empty. */
export function smallPlot({ timestamps, outputs }: Outputs, threshold: number, width: number, height: number): SmallPlot {
  const y = outputs["y"] ?? EMPTY;
  const expected = outputs["yhat"] ?? EMPTY;
  const [lower, upper] = [outputs["yhat_lower"] ?? EMPTY, outputs["yhat_upper"] ?? EMPTY];
  const scores = outputs["incident_score"] ?? outputs["anomaly_score"] ?? EMPTY;
  // Without the values, the score is what there is to see.
  const main = y.some((value) => value !== null) ? y : expected.length > 0 ? expected : scores;
  const [low, high] = extentOf([main, expected, ...clipped([lower, upper], main)]);
  const [first, last] = [timestamps[0] ?? 0, timestamps[timestamps.length - 1] ?? 1];
  const x = (at: number): number => (width * (timestamps[at]! - first)) / (last - first || 1);
  const place = (value: number): number => height - (height * (clamp(value, low, high) - low)) / (high - low || 1);
  return {
    low,
    high,
    y: line(main, x, place),
    expected: main === expected ? "" : line(expected, x, place),
    band: area(lower, upper, x, place),
    anomalies: line(
      main.map((value, at) => ((scores[at] ?? 0) > threshold ? value : null)),
      x,
      place,
    ),
  };
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

/** Keep bounds that are far away from making everything else flat. */
function clipped(bounds: readonly Values[], main: Values): Values[] {
  const [low, high] = extentOf([main]);
  const room = (high - low || Math.abs(high) || 1) * 1.5;
  return bounds.map((values) =>
    values.map((value) => (value === null ? null : clamp(value, low - room, high + room))),
  );
}

function extentOf(all: readonly Values[]): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const values of all) {
    for (const value of values) {
      if (value === null) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  return low <= high ? [low, high] : [0, 1];
}

const short = (value: number): string => String(Math.round(value * 10) / 10);

function line(values: Values, x: (at: number) => number, y: (value: number) => number): string {
  let path = "";
  let isDown = false;
  values.forEach((value, at) => {
    if (value === null) {
      isDown = false;
      return;
    }
    path += `${isDown ? "L" : "M"}${short(x(at))} ${short(y(value))}`;
    // A point without neighbors is seen by its round end.
    if (!isDown && (values[at + 1] ?? null) === null) path += "h0";
    isDown = true;
  });
  return path;
}

function area(lower: Values, upper: Values, x: (at: number) => number, y: (value: number) => number): string {
  let path = "";
  let piece: number[] = [];
  const close = (): void => {
    if (piece.length > 1) {
      const there = piece.map((at) => `${short(x(at))} ${short(y(upper[at]!))}`);
      const back = [...piece].reverse().map((at) => `${short(x(at))} ${short(y(lower[at]!))}`);
      path += `M${[...there, ...back].join("L")}Z`;
    }
    piece = [];
  };
  upper.forEach((value, at) => {
    if (value === null || (lower[at] ?? null) === null) close();
    else piece.push(at);
  });
  close();
  return path;
}
