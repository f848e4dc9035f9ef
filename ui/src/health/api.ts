/** How the service is, as it says itself. Times are Unix seconds. */

import { getJson, type Options } from "../api/client";

export interface Finding {
  severity: "error" | "warning";
  subject: string;
  message: string;
  remedy: string;
}

export interface SchedulerStatus {
  alias: string;
  class_name: string;
  alive: boolean;
  n_restarts: number;
  last_run: number | null;
}

export interface QueryStatus {
  query: string;
  scheduler: string;
  n_requests: number;
  failures: Readonly<Record<string, number>>;
  n_samples: number;
  mean_duration_s: number | null;
}

export interface StageStatus {
  n_runs: number;
  n_skipped: number;
  n_errors: number;
  last_run: number | null;
  mean_duration_s: number | null;
}

export interface ModelStatus {
  model: string;
  query: string;
  scheduler: string;
  n_active: number;
  fit: StageStatus;
  infer: StageStatus;
}

export interface WriterStatus {
  class_name: string;
  n_sent: number;
  queue_bytes: number;
  waiting_since: number | null;
  dropped: Readonly<Record<string, number>>;
  failures: Readonly<Record<string, number>>;
}

export interface Status {
  started_at: number;
  memory_bytes: number;
  available_memory_bytes: number;
  findings: readonly Finding[];
  schedulers: readonly SchedulerStatus[];
  queries: readonly QueryStatus[];
  models: readonly ModelStatus[];
  n_queries: number;
  n_models: number;
  writer: WriterStatus;
  state_bytes: number;
}

export const getStatus = (options: Options) =>
  getJson<{ data: Status }>("api/v1/status", {}, options).then(({ data }) => data);
