/** The fields of the form, from the JSON Schema of a class. */

import type { KeySchema, ModelSchema } from "../api/service";
import { DOMAIN_KEYS, type Json } from "../model/spec";

export type Kind = "switch" | "number" | "integer" | "pair" | "range" | "choice" | "choices" | "list" | "text" | "json";

export interface Field {
  /** Keys from the outermost on. */
  readonly path: readonly string[];
  readonly kind: Kind;
  readonly label: string;
  readonly description: string;
  readonly isDomain: boolean;
  readonly isAdvanced: boolean;
  readonly isRequired: boolean;
  readonly default: Json;
  /** Of a choice, or of each of several. */
  readonly options: readonly string[];
  readonly suggestions: readonly Json[];
}

/** What fields of domain knowledge are called, and what else a person should know of them. */
const DOMAIN: Readonly<Record<string, { label: string; note?: string; default?: Json }>> = {
  data_range: { label: "Data range", note: "What the values can be at all.", default: ["-inf", "inf"] },
  anomaly_score_outside_data_range: { label: "Score outside it" },
  clip_predictions: { label: "Clip predictions to it" },
  min_dev_from_expected: {
    label: "Minimum deviation",
    note: "Smaller deviations, below and above what is expected, are no anomalies.",
    default: [0, 0],
  },
  min_rel_dev_from_expected: {
    label: "Minimum deviation, %",
    note: "The same in percent of what is expected.",
    default: [0, 0],
  },
  scale: { label: "Scale of the range" },
  detection_direction: {
    label: "Direction",
    note: "Which deviations are anomalies.",
    default: "both",
  },
};

/** Keys that the page decides. */
const HIDDEN = new Set(["class", "provide_series"]);

export const pathKey = (path: readonly (string | number)[]): string => path.join(".");

/** Return the fields of a class: domain knowledge first, in its own order. */
export function fieldsOf(schema: ModelSchema): Field[] {
  const required = new Set(schema.required);
  const fields = Object.entries(schema.properties).flatMap(([key, each]) =>
    HIDDEN.has(key) ? [] : fieldsAt([key], each, required.has(key)),
  );
  const place = ({ path, isDomain }: Field): number => (isDomain ? DOMAIN_KEYS.indexOf(path[0]!) : DOMAIN_KEYS.length);
  return fields
    .map((field, index) => ({ field, index }))
    .sort((a, b) => place(a.field) - place(b.field) || a.index - b.index)
    .map(({ field }) => field);
}

function fieldsAt(path: readonly string[], schema: KeySchema, isRequired: boolean): Field[] {
  const nested = Object.entries(schema.properties ?? {});
  if (nested.length > 0) return nested.flatMap(([key, each]) => fieldsAt([...path, key], each, false));
  const domain = DOMAIN_KEYS.includes(path[0]!) ? DOMAIN[path[0]!] : undefined;
  const kind = kindOf(path[0]!, schema);
  return [
    {
      path,
      kind,
      label: domain?.label ?? pathKey(path),
      description: domain?.note ?? schema.description ?? "",
      isDomain: domain !== undefined,
      isAdvanced: schema["x-advanced"] ?? false,
      isRequired,
      default: domain?.default ?? schema.default ?? null,
      options: optionsOf(kind, schema),
      suggestions: suggestionsOf(schema),
    },
  ];
}

function alternatives(schema: KeySchema): KeySchema[] {
  return (schema.anyOf ?? [schema]).filter(({ type }) => type !== "null");
}

function kindOf(key: string, schema: KeySchema): Kind {
  if (key === "data_range") return "range";
  const kinds = alternatives(schema);
  const array = kinds.find(({ type }) => type === "array");
  if (array !== undefined) {
    const item = array.items ?? {};
    if ((item.type === "number" || item.type === "integer") && array.maxItems === 2) return "pair";
    if (item.enum !== undefined) return "choices";
    return item.type === "string" ? "list" : "json";
  }
  if (kinds.length > 1 && kinds.some(({ type, enum: values }) => type === "string" && values === undefined)) return "text";
  const [only] = kinds;
  if (only === undefined) return "json";
  if (only.enum !== undefined && kinds.length === 1) return "choice";
  if (kinds.some(({ enum: values, const: value }) => values !== undefined || value !== undefined)) return "text";
  switch (only.type) {
    case "boolean":
      return "switch";
    case "number":
      return "number";
    case "integer":
      return "integer";
    case "string":
      return "text";
    default:
      return "json";
  }
}

function optionsOf(kind: Kind, schema: KeySchema): string[] {
  const kinds = alternatives(schema);
  const values =
    kind === "choices"
      ? kinds.find(({ type }) => type === "array")?.items?.enum
      : kinds.find(({ enum: each }) => each !== undefined)?.enum;
  return (values ?? []).filter((value): value is string => typeof value === "string");
}

function suggestionsOf({ default: usual, examples = [] }: KeySchema): Json[] {
  const all = [...examples, ...(usual === undefined || usual === null ? [] : [usual])];
  const texts = new Set<string>();
  return all.filter((value) => {
    const text = JSON.stringify(value);
    const isNew = !texts.has(text);
    texts.add(text);
    return isNew;
  });
}
