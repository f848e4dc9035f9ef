/** Incidents in words. */

import { visible } from "../api/matrix";
import type { Incident } from "./api";

type Labels = Readonly<Record<string, string>>;

/** Return such as 45 s, 12 min, 3 h 20 min, 2 d 4 h. */
export function lasting(seconds: number): string {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  const days = Math.floor(hours / 24);
  return hours % 24 === 0 ? `${days} d` : `${days} d ${hours % 24} h`;
}

export function labelText(labels: Labels): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${visible(value)}`)
    .join(" ");
}

/** Return labels without those that all series have in common. */
export function distinctive(labels: Labels, common: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([name, value]) => common[name] !== value));
}

const DEVIATIONS: Readonly<Record<string, string>> = {
  spike: "one or two values far above the others",
  dip: "one or two values far below the others",
  "higher level": "the values are above what is expected",
  "lower level": "the values are below what is expected",
  rising: "the values move up and away from where they were",
  falling: "the values move down and away from where they were",
  "wider spread": "values on both sides of the expected range",
  "frozen value": "the value hardly changes any more",
};

/** Return what a deviation means; nothing for one that this page does not know. */
export function meaningOf(deviation: string): string {
  return DEVIATIONS[deviation] ?? "";
}

/** Return what an incident is called: its queries, and what its series have in common. */
export function titleOf({ queries }: Incident): string {
  const names = queries.filter((name) => name !== "");
  if (names.length === 0) return "Anomalies";
  const shown = names.slice(0, 3).join(", ");
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown;
}

/** Return a severity as one of five words. */
export function severityWord(severity: number): string {
  if (severity >= 6) return "extreme";
  if (severity >= 3) return "severe";
  if (severity >= 1.5) return "moderate";
  return severity >= 0.75 ? "mild" : "slight";
}

/** Return the highest severity of the series of an incident. */
export function severityOf({ series }: Incident): number {
  return Math.max(0, ...series.map(({ severity }) => severity));
}
