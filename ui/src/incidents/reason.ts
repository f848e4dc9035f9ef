/** Which of the scores of a series raised an incident. */

import { formatNumber } from "../components/format";
import type { Outputs } from "./api";

const shown = (value: number): string => formatNumber(Number(value.toPrecision(3)));

/** Return why there is an incident from its start to its end, in words; nothing if no output tells. */
export function reasonOf({ timestamps, outputs }: Outputs, start: number, end: number): string {
  const highest = (name: string): number => {
    const values = outputs[name] ?? [];
    return timestamps.reduce((most, at, index) => {
      const value = at >= start && at <= end ? (values[index] ?? null) : null;
      return value === null ? most : Math.max(most, Math.abs(value));
    }, 0);
  };
  const [point, flatline, drift, incident] = ["anomaly_score", "flatline_score", "drift_score", "incident_score"].map(
    highest,
  ) as [number, number, number, number];
  if (flatline > 1 && flatline >= Math.max(point, drift)) {
    return `The value has not moved for unusually long: flatline_score up to ${shown(flatline)}.`;
  }
  if (drift > 1 && drift >= point) {
    const distance = highest("drift");
    const far = distance > 0 ? `, by up to ${shown(distance)}` : "";
    return `The level has drifted unusually far${far}: drift_score up to ${shown(drift)}.`;
  }
  if (point > 1) return `The highest anomaly_score is ${shown(point)}.`;
  if (incident > 1) return `Values were near the bounds for unusually long: incident_score up to ${shown(incident)}.`;
  return "";
}
