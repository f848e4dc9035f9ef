/** The service's own API, as types and one function for each request. */

import type { Json, ModelSpec } from "../model/spec";
import { getJson, getText, type Options, postJson, postYaml, sendDelete } from "./client";
import type { Matrix } from "./matrix";

export interface BuildInfo {
  vmanomaly: string;
  vmui: string;
}

export interface DatasourceInfo {
  server_datasource_url: string | null;
  server_datasource_type: string | null;
  ui_datasource_url: string | null;
  ui_datasource_type: string | null;
}

export interface ServerModel {
  model_configuration: ModelSpec;
  queries: Record<string, { expr: string; step: string; tenant_id: string | null }>;
  is_online: boolean;
  is_multivariate: boolean;
  is_ui_selectable: boolean;
}

export interface ModelSchema {
  title: string;
  description: string;
  properties: Record<string, KeySchema>;
  required: string[];
  "x-online": boolean;
  "x-multivariate": boolean;
  "x-forecasts": boolean;
}

export interface KeySchema {
  type?: string;
  anyOf?: KeySchema[];
  enum?: Json[];
  const?: Json;
  items?: KeySchema;
  minItems?: number;
  maxItems?: number;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  format?: string;
  properties?: Record<string, KeySchema>;
  default?: Json;
  description?: string;
  examples?: Json[];
  "x-group"?: "common" | "model";
  "x-advanced"?: boolean;
}

/** Which datasource a request is for; what is undefined is left to the server. */
export interface DatasourceFields {
  datasource_url?: string;
  datasource_type?: string;
  tenant_id?: string;
  pass_auth_headers?: boolean;
}

export type TaskStatus = "running" | "done" | "error" | "canceled";

export interface TaskMetrics {
  series: number;
  points: number;
  anomalies: number;
  fits: number;
  elapsed_s: number;
}

export interface TaskProgress {
  task_id: string;
  status: TaskStatus;
  progress: number;
  message: string;
  started_at: string;
  updated_at: string;
  error: string | null;
}

export interface Task extends TaskProgress {
  metrics: TaskMetrics;
  result_data: { data: Matrix } | null;
}

export interface DetectionRequest extends DatasourceFields {
  query: string;
  step: string;
  start_infer_s: number;
  end_infer_s: number;
  fit_window: string;
  fit_every: string;
  infer_every?: string;
  exact: boolean;
  anomaly_threshold: number;
  model_spec: ModelSpec;
}

export interface Limits {
  max_concurrent: number;
  running: number;
  available: number;
}

const TASKS = "api/v1/anomaly_detection/tasks";

type Text = Record<string, string>;

export function asArguments(fields: DatasourceFields): Text {
  const { pass_auth_headers: passed, ...texts } = fields;
  return { ...texts, ...(passed ? { pass_auth_headers: "true" } : {}) };
}

export const getBuildInfo = () => getJson<BuildInfo>("api/v1/server/buildinfo");
export const getDatasource = () => getJson<DatasourceInfo>("api/v1/server/datasource");
export const getServerQueries = () => getJson<Record<string, string>>("api/v1/server/queries");
export const getServerModels = () =>
  getJson<{ models: Record<string, ServerModel> }>("api/v1/server/models").then((answer) => answer.models);
export const getModelClasses = () =>
  getJson<{ models: string[] }>("api/v1/models").then((answer) => answer.models);
export const getModelSchema = (name: string) =>
  getJson<{ schema: ModelSchema }>("api/v1/model/schema", { model_class: name }).then(
    (answer) => answer.schema,
  );
export const validateModel = (spec: ModelSpec) =>
  postJson<{ model_spec: ModelSpec }>("api/v1/model/validate", spec).then((answer) => answer.model_spec);
export const validateModelYaml = (yaml: string) =>
  postYaml<{ model_spec: ModelSpec }>("api/v1/model/validate", yaml).then((answer) => answer.model_spec);
export const getTenants = (fields: DatasourceFields) =>
  getJson<{ tenants: string[] }>("api/v1/server/tenants", asArguments(fields)).then(
    (answer) => answer.tenants,
  );

export function queryRange(
  fields: DatasourceFields,
  asked: { query: string; start: number; end: number; step: string },
  options: Options,
): Promise<Matrix> {
  const { query, start, end, step } = asked;
  return getJson<{ data: Matrix }>(
    "api/v1/query",
    { ...asArguments(fields), query, step, start: String(start / 1000), end: String(end / 1000) },
    options,
  ).then((answer) => answer.data);
}

export const prettify = (fields: DatasourceFields, query: string) =>
  getJson<{ query: string }>("prettify-query", { ...asArguments(fields), query }).then(
    (answer) => answer.query,
  );
export const getLabelNames = (fields: DatasourceFields, args: Text) =>
  getJson<{ data: string[] }>("api/v1/labels", { ...asArguments(fields), ...args }).then(
    (answer) => answer.data,
  );
export const getLabelValues = (fields: DatasourceFields, label: string, args: Text) =>
  getJson<{ data: string[] }>(`api/v1/label/${encodeURIComponent(label)}/values`, {
    ...asArguments(fields),
    ...args,
  }).then((answer) => answer.data);
/** Fields of logs, and values of one of them. */
export const getLogFields = (fields: DatasourceFields, args: Text) => getLogNames("field_names", fields, args);
export const getLogValues = (fields: DatasourceFields, field: string, args: Text) =>
  getLogNames("field_values", fields, { field, ...args });

function getLogNames(path: string, fields: DatasourceFields, args: Text): Promise<string[]> {
  return getJson<{ values: { value: string }[] }>(`select/logsql/${path}`, {
    ...asArguments(fields),
    ...args,
  }).then((answer) => answer.values.map(({ value }) => value));
}

export const startDetection = (asked: DetectionRequest, options: Options) =>
  postJson<{ task_id: string }>(TASKS, asked, options).then((answer) => answer.task_id);
export const getTask = (id: string, options: Options) => getJson<Task>(`${TASKS}/${id}`, {}, options);
export const cancelTask = (id: string) => sendDelete(`${TASKS}/${id}`);
export const getLimits = () => getJson<Limits>("api/v1/anomaly_detection/limits");

export const getConfigYaml = (args: Text) => getText("api/vmanomaly/config.yaml", args);
export const getAlertYaml = (args: Text) => getText("api/vmanomaly/example-alert-rule.yaml", args);
