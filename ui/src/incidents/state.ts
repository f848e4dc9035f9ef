/** What the tab shows, as its address holds it. */

import { parseDuration } from "../time/duration";

/** What the scores shown must have; the names are those of the API. */
export const FILTERS = ["preset", "scheduler_alias", "model_alias", "query"] as const;
export type Filter = (typeof FILTERS)[number];

export type Order = "newest" | "severest";

export interface IncidentsState {
  /** How far back from the newest score; it counts where there is no window. */
  readonly since: string;
  /** A window that was chosen, Unix seconds. */
  readonly window: { readonly from: number; readonly to: number } | null;
  readonly threshold: number;
  readonly filters: Readonly<Partial<Record<Filter, string>>>;
  readonly order: Order;
  /** Labels of the series, such as host=db-1. */
  readonly labels: readonly string[];
}

export const DEFAULT_SINCE = "1d";
export const SPANS = ["1h", "6h", "1d", "7d", "30d"] as const;

export function readIncidentsState(params: URLSearchParams): IncidentsState {
  const since = params.get("since") ?? "";
  const [from, to] = ["from", "to"].map((name) => Number(params.get(name) ?? NaN)) as [number, number];
  const threshold = Number(params.get("threshold") ?? NaN);
  const filters: Partial<Record<Filter, string>> = {};
  for (const name of FILTERS) {
    const value = params.get(name);
    if (value !== null && value !== "") filters[name] = value;
  }
  return {
    since: parseDuration(since) === null ? DEFAULT_SINCE : since,
    window: from > 0 && to > from && Number.isFinite(to) ? { from, to } : null,
    threshold: threshold >= 0 && Number.isFinite(threshold) ? threshold : 1,
    filters,
    order: params.get("order") === "severest" ? "severest" : "newest",
    labels: params.getAll("label").filter((label) => /^[^=]+=/.test(label)),
  };
}

/** Write a state, without what has its default. */
export function writeIncidentsState(state: IncidentsState): URLSearchParams {
  const params = new URLSearchParams();
  if (state.since !== DEFAULT_SINCE) params.set("since", state.since);
  if (state.window !== null) {
    params.set("from", String(state.window.from));
    params.set("to", String(state.window.to));
  }
  if (state.threshold !== 1) params.set("threshold", String(state.threshold));
  if (state.order !== "newest") params.set("order", state.order);
  for (const name of FILTERS) {
    const value = state.filters[name];
    if (value !== undefined) params.set(name, value);
  }
  for (const label of state.labels) params.append("label", label);
  return params;
}

/** Return the arguments of the request. */
export function requestOf(state: IncidentsState): URLSearchParams {
  const params = new URLSearchParams({ threshold: String(state.threshold) });
  if (state.window === null) {
    params.set("since", state.since);
  } else {
    params.set("start", String(state.window.from));
    params.set("end", String(state.window.to));
  }
  for (const [name, value] of Object.entries(state.filters)) params.set(name, value);
  for (const label of state.labels) params.append("label", label);
  return params;
}
