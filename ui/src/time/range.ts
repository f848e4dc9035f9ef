/** Time ranges: relative ones, which end now, and absolute ones. */

import { parseDuration } from "./duration";
import { civil, fromCivil } from "./zone";

export interface RelativeRange {
  readonly relative: string;
}

/** Unix milliseconds. */
export interface AbsoluteRange {
  readonly from: number;
  readonly to: number;
}

export type TimeRange = RelativeRange | AbsoluteRange;

const DAY_MS = 86_400_000;

/** Names and titles as in vmui; each with its length. */
export const RELATIVE_RANGES: readonly { id: string; title: string; length: string }[] = [
  { id: "last_5_minutes", title: "Last 5 minutes", length: "5m" },
  { id: "last_15_minutes", title: "Last 15 minutes", length: "15m" },
  { id: "last_30_minutes", title: "Last 30 minutes", length: "30m" },
  { id: "last_1_hour", title: "Last hour", length: "1h" },
  { id: "last_3_hours", title: "Last 3 hours", length: "3h" },
  { id: "last_6_hours", title: "Last 6 hours", length: "6h" },
  { id: "last_12_hours", title: "Last 12 hours", length: "12h" },
  { id: "last_24_hours", title: "Last 24 hours", length: "24h" },
  { id: "last_2_days", title: "Last 2 days", length: "2d" },
  { id: "last_7_days", title: "Last 7 days", length: "7d" },
  { id: "last_30_days", title: "Last 30 days", length: "30d" },
  { id: "last_90_days", title: "Last 90 days", length: "90d" },
  { id: "last_180_days", title: "Last 180 days", length: "180d" },
  { id: "last_1_year", title: "Last year", length: "1y" },
  { id: "yesterday", title: "Yesterday", length: "1d" },
  { id: "today", title: "Today", length: "1d" },
];

export const DEFAULT_RANGE: RelativeRange = { relative: "last_24_hours" };

export function isAbsolute(range: TimeRange): range is AbsoluteRange {
  return "from" in range;
}

export function isRelativeName(name: string): boolean {
  return RELATIVE_RANGES.some(({ id }) => id === name);
}

export function titleOf(name: string): string {
  return RELATIVE_RANGES.find(({ id }) => id === name)?.title ?? name;
}

/** Return when a range begins and ends, in Unix milliseconds. */
export function resolve(range: TimeRange, nowMs: number, zone: string): AbsoluteRange {
  if (isAbsolute(range)) return range;
  if (range.relative === "today" || range.relative === "yesterday") {
    const midnight = startOfDay(nowMs, zone);
    if (range.relative === "today") return { from: midnight, to: nowMs };
    return { from: startOfDay(midnight - DAY_MS / 2, zone), to: midnight - 1000 };
  }
  const known = RELATIVE_RANGES.find(({ id }) => id === range.relative);
  const length = parseDuration(known?.length ?? "24h")!;
  const to = Math.floor(nowMs / 1000) * 1000;
  return { from: to - length, to };
}

function startOfDay(timestampMs: number, zone: string): number {
  return fromCivil({ ...civil(timestampMs, zone), hour: 0, minute: 0, second: 0 }, zone);
}
