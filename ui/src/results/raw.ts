/** What a query found after a detection, for the times that the detection does not have. */

import type { Labels, Series } from "../api/matrix";
import type { DetectedSeries } from "../detection/result";

/** Return the values of a detected series that are before or after those of its detection. */
export function valuesAround(series: DetectedSeries, found: readonly Series[]): Pick<Series, "times" | "values"> {
  const key = keyOf(series.labels);
  const same = found.find(({ labels }) => keyOf(labels) === key);
  const [first = Infinity, last = -Infinity] = [series.times[0], series.times.at(-1)];
  const times: number[] = [];
  const values: (number | null)[] = [];
  same?.times.forEach((time, index) => {
    if (time >= first && time <= last) return;
    times.push(time);
    values.push(same.values[index] ?? null);
  });
  return { times, values };
}

/** Detections have outputs instead of the name, and say what they are for. */
function keyOf(labels: Labels): string {
  const own = Object.entries(labels).filter(([name]) => name !== "__name__" && name !== "for");
  return JSON.stringify(own.sort());
}
