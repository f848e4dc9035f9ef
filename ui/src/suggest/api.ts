/** What Suggest asks the service for. */

import { getJson, type Options, postJson, sendDelete } from "../api/client";
import { asArguments, type DatasourceFields, type TaskProgress } from "../api/service";
import type { Json, ModelSpec } from "../model/spec";
import type { AbsoluteRange } from "../time/range";

export interface Seasonality {
  share: number;
  strength: number;
  shape: string | null;
}

/** What series are like; shares are of those that could be judged. */
export interface Characteristics {
  series_count: number;
  eligible_series_count: number;
  eligible_series_share: number;
  has_trend: boolean;
  trend: { share: number; direction_mode: string };
  seasonalities: {
    hod: Seasonality;
    dow: Seasonality;
    month: Seasonality;
    recommended: string[];
  };
  not_measured: string[];
  shape: { flat_share: number; spiky_share: number; intermittent_share: number };
  changepoints: { share: number };
  gaps: { share: number; longest_steps: number };
}

export interface Tuned {
  modelConfig: ModelSpec;
  bestScore: number;
  optimization: {
    n_trials_done: number;
    stopped_by: string;
    anomaly_percentage: number;
    elapsed_s: number;
    loss: number;
    /** By how much the share of anomalies of some series exceeds what is expected. */
    violation: number;
    anomaly_share: number;
    defaults: { loss: number; violation: number; anomaly_share: number };
  };
  tunedInputCount: number;
}

export interface AutotuneTask extends TaskProgress {
  result_data: { data: Tuned } | null;
}

export interface AutotuneRequest extends DatasourceFields {
  query: string;
  step: string;
  start: number;
  end: number;
  timezone: string;
  tuned_class_name: string;
  anomaly_percentage: number;
  frozen_params: Record<string, Json>;
  optimization_params: { timeout: number };
}

const TASKS = "api/v1/autotune/tasks";

export function getCharacteristics(
  fields: DatasourceFields,
  asked: { query: string; step: string; range: AbsoluteRange; timezone: string },
  options: Options,
): Promise<Characteristics> {
  const { query, step, range, timezone } = asked;
  return getJson<{ data: { batch: Characteristics } }>(
    "api/v1/timeseries/characteristics",
    {
      ...asArguments(fields),
      query,
      step,
      timezone,
      start: String(range.from / 1000),
      end: String(range.to / 1000),
    },
    options,
  ).then((answer) => answer.data.batch);
}

export const startAutotune = (asked: AutotuneRequest) =>
  postJson<{ task_id: string }>(TASKS, asked).then((answer) => answer.task_id);
export const getAutotune = (id: string, options: Options) =>
  getJson<AutotuneTask>(`${TASKS}/${id}`, {}, options);
export const cancelAutotune = (id: string) => sendDelete(`${TASKS}/${id}`);
