/** The state of the page as its address holds it. */

import {
  DEFAULT_SPEC,
  isDefaultSpec,
  type ModelSpec,
  readModelConfig,
  writeModelConfig,
} from "../model/spec";
import { formatDuration, parseDuration } from "../time/duration";
import {
  DEFAULT_RANGE,
  isAbsolute,
  isRelativeName,
  RELATIVE_RANGES,
  type TimeRange,
} from "../time/range";

export type Mode = "query" | "detect";
export type DatasourceType = "" | "vm" | "vlogs";
export type SeriesView = "table" | "list";

export interface PageState {
  mode: Mode;
  expr: string;
  range: TimeRange;
  /** A duration; empty for one that fits the range. */
  step: string;
  tenant: string;
  /** Empty for that of the server. */
  datasourceUrl: string;
  datasourceType: DatasourceType;
  threshold: number;
  /** Anomalies in a row that count; 1 for each of them. */
  consecutive: number;
  fitWindow: string;
  fitEvery: string;
  /** Empty for the step. */
  inferEvery: string;
  exact: boolean;
  businessBoundaries: boolean;
  advancedOpen: boolean;
  model: ModelSpec;
  /** Empty for that of the browser. */
  timezone: string;
  view: SeriesView;
  groupBy: string;
  hideStatistics: boolean;
  hideCommonLabels: boolean;
  /** Names and values that mean nothing here. */
  others: readonly (readonly [string, string])[];
}

export const DEFAULT_STATE: PageState = {
  mode: "query",
  expr: "",
  range: DEFAULT_RANGE,
  step: "",
  tenant: "",
  datasourceUrl: "",
  datasourceType: "",
  threshold: 1,
  consecutive: 1,
  fitWindow: "1d",
  fitEvery: "1d",
  inferEvery: "",
  exact: true,
  businessBoundaries: false,
  advancedOpen: false,
  model: DEFAULT_SPEC,
  timezone: "",
  view: "table",
  groupBy: "",
  hideStatistics: false,
  hideCommonLabels: false,
  others: [],
};

/** Longer addresses are cut by some programs on the way. */
export const LONGEST_ADDRESS = 8000;

const NAMES = new Set([
  "g0.expr",
  "g0.range_input",
  "g0.end_input",
  "g0.relative_time",
  "g0.step_input",
  "g0.tab",
  "g0.tenantID",
  "datasourceUrl",
  "datasource_type",
  "anomaly_threshold",
  "anomaly_consecutive",
  "anomaly_consecutive_n",
  "fit_window",
  "fit_every",
  "infer_every",
  "exact",
  "business_boundaries",
  "advanced_open",
  "model_config",
  "timezone",
  "mode",
  "legend_view",
  "legend_group",
  "legend_hide_stats",
  "legend_hide_duplicates",
]);

/** Read the state of an address; what is missing or cannot be read has its default. */
export function readState(params: URLSearchParams, nowMs: number): PageState {
  const text = (name: string): string => params.get(name)?.trim() ?? "";
  const flag = (name: string, otherwise: boolean): boolean => {
    const given = text(name);
    return given === "" ? otherwise : given === "true" || given === "1";
  };
  const duration = (name: string, otherwise: string): string => {
    const given = text(name);
    if (parseDuration(given) === null) return otherwise;
    return /^[\d.,]+$/.test(given) ? formatDuration(parseDuration(given)!) : given;
  };
  const number = (name: string, otherwise: number): number => {
    const given = text(name);
    return given !== "" && Number.isFinite(Number(given)) ? Number(given) : otherwise;
  };
  const type = text("datasource_type");
  return {
    mode: text("mode") === "detect" ? "detect" : "query",
    expr: params.get("g0.expr") ?? "",
    range: readRange(text, nowMs),
    step: duration("g0.step_input", ""),
    tenant: text("g0.tenantID"),
    datasourceUrl: withoutLogin(text("datasourceUrl")),
    datasourceType: type === "vm" ? "vm" : type === "vlogs" || type === "vmlogs" ? "vlogs" : "",
    threshold: number("anomaly_threshold", DEFAULT_STATE.threshold),
    consecutive: flag("anomaly_consecutive", false)
      ? Math.max(2, Math.round(number("anomaly_consecutive_n", 2)))
      : 1,
    fitWindow: duration("fit_window", DEFAULT_STATE.fitWindow),
    fitEvery: duration("fit_every", DEFAULT_STATE.fitEvery),
    inferEvery: duration("infer_every", ""),
    exact: flag("exact", DEFAULT_STATE.exact),
    businessBoundaries: flag("business_boundaries", false),
    advancedOpen: flag("advanced_open", false),
    model: readModelConfig(params.get("model_config") ?? "") ?? DEFAULT_SPEC,
    timezone: text("timezone"),
    view: text("legend_view") === "list" ? "list" : "table",
    groupBy: text("legend_group"),
    hideStatistics: flag("legend_hide_stats", false),
    hideCommonLabels: flag("legend_hide_duplicates", false),
    others: [...params].filter(([name]) => !NAMES.has(name)),
  };
}

function readRange(text: (name: string) => string, nowMs: number): TimeRange {
  const relative = text("g0.relative_time");
  if (isRelativeName(relative)) return { relative };
  const length = parseDuration(text("g0.range_input"));
  const end = readEnd(text("g0.end_input"));
  if (length === null) return DEFAULT_RANGE;
  if (end === null) {
    const known = RELATIVE_RANGES.find((each) => parseDuration(each.length) === length);
    if (known !== undefined) return { relative: known.id };
  }
  const to = end ?? Math.floor(nowMs / 1000) * 1000;
  return { from: to - length, to };
}

function readEnd(text: string): number | null {
  if (text === "") return null;
  const milliseconds = Date.parse(/(?:Z|[+-]\d\d:?\d\d)$/.test(text) ? text : `${text}Z`);
  return Number.isNaN(milliseconds) ? null : milliseconds;
}

/** Write a state, without what has its default. */
export function writeState(state: PageState): URLSearchParams {
  const params = new URLSearchParams();
  const put = (name: string, value: string, otherwise = ""): void => {
    if (value !== otherwise) params.set(name, value);
  };
  const standard = DEFAULT_STATE;
  put("g0.expr", state.expr);
  if (isAbsolute(state.range)) {
    params.set("g0.range_input", formatDuration(state.range.to - state.range.from));
    params.set("g0.end_input", new Date(state.range.to).toISOString().replace(/(\.000)?Z$/, ""));
    params.set("g0.relative_time", "none");
  } else if (state.range.relative !== DEFAULT_RANGE.relative) {
    const { relative } = state.range;
    const known = RELATIVE_RANGES.find(({ id }) => id === relative);
    put("g0.range_input", known?.length ?? "");
    params.set("g0.relative_time", relative);
  }
  put("g0.step_input", state.step);
  put("g0.tenantID", state.tenant);
  put("datasourceUrl", withoutLogin(state.datasourceUrl));
  put("datasource_type", state.datasourceType);
  put("anomaly_threshold", String(state.threshold), String(standard.threshold));
  if (state.consecutive > 1) {
    params.set("anomaly_consecutive", "true");
    put("anomaly_consecutive_n", String(state.consecutive), "2");
  }
  put("fit_window", state.fitWindow, standard.fitWindow);
  put("fit_every", state.fitEvery, standard.fitEvery);
  put("infer_every", state.inferEvery);
  put("exact", String(state.exact), String(standard.exact));
  put("business_boundaries", String(state.businessBoundaries), "false");
  put("advanced_open", String(state.advancedOpen), "false");
  if (!isDefaultSpec(state.model)) params.set("model_config", writeModelConfig(state.model));
  put("timezone", state.timezone);
  put("mode", state.mode, standard.mode);
  put("legend_view", state.view, standard.view);
  put("legend_group", state.groupBy);
  put("legend_hide_stats", String(state.hideStatistics), "false");
  put("legend_hide_duplicates", String(state.hideCommonLabels), "false");
  for (const [name, value] of state.others) params.append(name, value);
  return params;
}

/** Return a URL without the user and password in it. */
export function withoutLogin(url: string): string {
  return url.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/?#]*@/i, "$1");
}

/** A tab and its parameters in a fragment such as `#/?g0.expr=up`. */
export function splitFragment(fragment: string): { tab: string; params: URLSearchParams } {
  const [path = "", query = ""] = splitOnce(fragment.replace(/^#?\/?/, ""), "?");
  return { tab: path.replace(/\/$/, ""), params: new URLSearchParams(query) };
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

export function joinFragment(tab: string, params: URLSearchParams): string {
  return `#/${tab}?${params}`;
}
