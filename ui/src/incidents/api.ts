/** Incidents, as the service finds them in the scores that runs have written. */

import { getJson, type Options } from "../api/client";
import { asArguments, type DatasourceFields } from "../api/service";

type Labels = Readonly<Record<string, string>>;

/** An incident of one series, according to one model. Times are Unix seconds. */
export interface IncidentSeries {
  query: string;
  model_alias: string;
  scheduler_alias: string;
  preset: string;
  labels: Labels;
  start: number;
  end: number;
  peak: number;
  peak_at: number;
  n_points: number;
  severity: number;
}

/** Incidents of series that belong together. */
export interface Incident {
  start: number;
  end: number;
  ongoing: boolean;
  peak: number;
  labels: Labels;
  queries: readonly string[];
  n_series: number;
  series: readonly IncidentSeries[];
}

export interface Incidents {
  source: string;
  start: number;
  end: number;
  step: number;
  threshold: number;
  n_scored: number;
  timeline: { timestamps: readonly number[]; n_series: readonly number[] };
  n_incidents: number;
  incidents: readonly Incident[];
}

export interface Outputs {
  timestamps: readonly number[];
  outputs: Readonly<Record<string, readonly (number | null)[]>>;
  /** In which way the values left what was expected, such as `higher level`. */
  deviation?: string | null;
}

export function getIncidents(
  fields: DatasourceFields,
  asked: URLSearchParams,
  options: Options,
): Promise<Incidents> {
  const params = new URLSearchParams([...Object.entries(asArguments(fields)), ...asked]);
  return getJson<{ data: Incidents }>(`api/v1/incidents?${params}`, {}, options).then(({ data }) => data);
}

export function getOutputs(
  fields: DatasourceFields,
  series: IncidentSeries,
  range: { from: number; to: number },
  options: Options,
): Promise<Outputs> {
  const { query, model_alias, scheduler_alias, preset, labels } = series;
  return getJson<{ data: Outputs }>(
    "api/v1/incidents/outputs",
    {
      ...asArguments(fields),
      query,
      model_alias,
      scheduler_alias,
      preset,
      labels: JSON.stringify(labels),
      start: String(range.from),
      end: String(range.to),
      incident_start: String(series.start),
      incident_end: String(series.end),
    },
    options,
  ).then(({ data }) => data);
}
