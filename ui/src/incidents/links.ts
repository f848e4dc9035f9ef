/** Where a series of an incident can be looked at further. */

import { DEFAULT_STATE, type PageState } from "../state/url";
import type { ModelSpec } from "../model/spec";
import type { IncidentSeries } from "./api";

export interface Window {
  /** Unix seconds. */
  readonly from: number;
  readonly to: number;
}

const OUTPUTS = "y|yhat|yhat_lower|yhat_upper|anomaly_score|incident_score";

/** Return the window of a plot: the incident, and as much before and after it. */
export function windowAround({ start, end }: { start: number; end: number }, step: number): Window {
  const around = Math.max(end - start, 30 * step);
  return { from: start - around, to: end + around };
}

/** Return a selector of everything that was written about a series. */
export function selectorOf(series: IncidentSeries): string {
  const labels: Record<string, string> = {
    for: series.query,
    model_alias: series.model_alias,
    scheduler_alias: series.scheduler_alias,
    preset: series.preset,
    ...series.labels,
  };
  const matchers = Object.entries(labels)
    .filter(([, value]) => value !== "")
    .map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `{${[`__name__=~"${OUTPUTS}"`, ...matchers].join(",")}}`;
}

/** Return the address of a series in Grafana's Explore. */
export function grafanaLink(grafanaUrl: string, series: IncidentSeries, window: Window): string {
  const pane = {
    datasource: null,
    queries: [{ refId: "A", expr: selectorOf(series), range: true }],
    range: { from: String(Math.round(window.from * 1000)), to: String(Math.round(window.to * 1000)) },
  };
  const params = new URLSearchParams({ schemaVersion: "1", orgId: "1", panes: JSON.stringify({ a: pane }) });
  return `${grafanaUrl.replace(/\/+$/, "")}/explore?${params}`;
}

/** Return the state of the page that tries a model on a query. */
export function explorationOf(
  window: Window,
  expr: string,
  spec: ModelSpec | undefined,
): PageState {
  return {
    ...DEFAULT_STATE,
    mode: "detect",
    expr,
    range: { from: window.from * 1000, to: window.to * 1000 },
    ...(spec === undefined ? {} : { model: spec }),
  };
}
