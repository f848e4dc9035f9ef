/** The outputs of a detection, gathered by the series that they are for. */

import { alignedTo, type Labels, type Matrix, readSeries, type Series, unionOfTimes } from "../api/matrix";
import { parseDuration } from "../time/duration";
import type { Score } from "./streaks";

export type Values = readonly (number | null)[];

/** A forecast, at the times that it is for. */
export interface Forecast {
  readonly offset: string;
  readonly side: "yhat" | "yhat_lower" | "yhat_upper";
  /** Unix seconds at which each value was predicted. */
  readonly madeAt: readonly number[];
  readonly times: readonly number[];
  readonly values: Values;
}

export interface DetectedSeries {
  readonly labels: Labels;
  /** Unix seconds, ascending. */
  readonly times: readonly number[];
  readonly y: Values;
  readonly yhat: Values;
  readonly lower: Values;
  readonly upper: Values;
  readonly scores: readonly Score[];
  readonly forecasts: readonly Forecast[];
}

const OUTPUTS = ["y", "yhat", "yhat_lower", "yhat_upper", "anomaly_score"] as const;
const FORECAST = /^(yhat|yhat_lower|yhat_upper)_(\d.*)$/;
const ADDED = new Set(["__name__", "for"]);

/** Gather the outputs of each series, in the order in which the series come. */
export function readDetection(matrix: Matrix): DetectedSeries[] {
  const groups = new Map<string, { labels: Labels; outputs: Map<string, Series> }>();
  for (const given of matrix.result) {
    const series = readSeries(given);
    const labels = Object.fromEntries(
      Object.entries(series.labels).filter(([name]) => !ADDED.has(name)),
    );
    const key = JSON.stringify(Object.entries(labels).sort());
    let group = groups.get(key);
    if (group === undefined) {
      group = { labels, outputs: new Map() };
      groups.set(key, group);
    }
    group.outputs.set(series.labels.__name__ ?? "", series);
  }
  const all = [...groups.values()];
  const read = all.filter(({ outputs }) => outputs.has("y"));
  if (read.length === 0) return all.map((group) => gather(group));
  // A multivariate model has one score for all series of a group.
  const joint = all.filter(({ outputs }) => !outputs.has("y"));
  return read.map((group) => {
    const scored = joint.find(({ labels }) => isPartOf(labels, group.labels));
    const outputs = new Map([...(scored?.outputs ?? []), ...group.outputs]);
    return gather({ labels: group.labels, outputs });
  });
}

function isPartOf(part: Labels, whole: Labels): boolean {
  return Object.entries(part).every(([name, value]) => whole[name] === value);
}

function gather(group: { labels: Labels; outputs: ReadonlyMap<string, Series> }): DetectedSeries {
  const { labels, outputs } = group;
  const times = unionOfTimes(OUTPUTS.flatMap((name) => outputs.get(name) ?? []).map((each) => each.times));
  const at = (name: string): Values => {
    const series = outputs.get(name);
    return series === undefined ? times.map(() => null) : alignedTo(times, series);
  };
  return {
    labels,
    times,
    y: at("y"),
    yhat: at("yhat"),
    lower: at("yhat_lower"),
    upper: at("yhat_upper"),
    scores: at("anomaly_score"),
    forecasts: [...outputs].flatMap(([name, series]) => forecastOf(name, series) ?? []),
  };
}

function forecastOf(name: string, series: Series): Forecast | null {
  const [, side, offset] = FORECAST.exec(name) ?? [];
  const ahead = parseDuration(offset ?? "");
  if (ahead === null) return null;
  return {
    offset: offset!,
    side: side as Forecast["side"],
    madeAt: series.times,
    times: series.times.map((time) => time + ahead / 1000),
    values: series.values,
  };
}
