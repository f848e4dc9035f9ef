/** Where a deviation begins to count for the business, around the expected value. */

import type { ModelSpec } from "../model/spec";
import type { Values } from "../detection/result";

export interface Boundaries {
  readonly lower: Values;
  readonly upper: Values;
}

type Pair = readonly [number, number];

/** Read a number or a pair of numbers, for below and above. */
function pairOf(value: unknown): Pair {
  const numbers = (Array.isArray(value) ? value : [value]).map(Number).filter(Number.isFinite);
  return [numbers[0] ?? 0, numbers[1] ?? numbers[0] ?? 0];
}

/**
 * Return the expected values less and plus the minimum deviations, the relative ones in percent; nothing where there is none, or
 * on a side that the direction leaves out.
 */
export function boundariesOf(spec: ModelSpec, yhat: Values): Boundaries {
  const absolute = pairOf(spec.min_dev_from_expected);
  const relative = pairOf(spec.min_rel_dev_from_expected);
  const direction = spec.detection_direction ?? "both";
  const side = (index: 0 | 1, sign: number, isWatched: boolean): Values => {
    const isSet = absolute[index] > 0 || relative[index] > 0;
    return yhat.map((value) => {
      if (value === null || !isSet || !isWatched) return null;
      return value + sign * Math.max(absolute[index], (Math.abs(value) * relative[index]) / 100);
    });
  };
  return {
    lower: side(0, -1, direction !== "above_expected"),
    upper: side(1, 1, direction !== "below_expected"),
  };
}
