/** The draft of a spec: what stands in the fields. */

import type { ErrorDetail } from "../api/client";
import type { Json, ModelSpec } from "../model/spec";
import { type Field, pathKey } from "./fields";
import { readTexts, textsOf } from "./text";

/** Texts by the path of their field. */
export type Draft = Readonly<Record<string, readonly string[]>>;

const CLIP = "clip_predictions";
const RANGE = "data_range";

export function draftOf(fields: readonly Field[], spec: ModelSpec): Draft {
  const draft = Object.fromEntries(
    fields.map((field) => [pathKey(field.path), textsOf(field, valueAt(spec, field.path))]),
  );
  // Who gives a range here wants predictions in it; what a range says elsewhere stays.
  if (CLIP in draft && spec[CLIP] === undefined) draft[CLIP] = [String((spec[RANGE] ?? null) === null)];
  return draft;
}

function valueAt(spec: Json, path: readonly string[]): Json | undefined {
  let value: Json | undefined = spec;
  for (const key of path) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
    value = value[key];
  }
  return value;
}

export interface Outcome {
  readonly spec: ModelSpec;
  /** What cannot be read, by the path of its field. */
  readonly errors: Readonly<Record<string, string>>;
}

/** Return the spec of a draft, without what has its default; keys without a field stay. */
export function specOf(fields: readonly Field[], draft: Draft, before: ModelSpec): Outcome {
  const spec = structuredClone(before) as ModelSpec;
  const errors: Record<string, string> = {};
  for (const field of fields) {
    const key = pathKey(field.path);
    const read = readTexts(field, draft[key] ?? [""]);
    if ("error" in read) errors[key] = read.error;
    else put(spec, field.path, isDefault(field, read.value) ? undefined : read.value);
  }
  if (spec[RANGE] === undefined) delete spec[CLIP];
  return { spec, errors };
}

function isDefault({ default: usual, isRequired }: Field, value: Json | undefined): boolean {
  return !isRequired && value !== undefined && JSON.stringify(value) === JSON.stringify(usual);
}

function put(target: Record<string, Json>, path: readonly string[], value: Json | undefined): void {
  const [key, ...rest] = path as [string, ...string[]];
  if (rest.length > 0) {
    const inner = target[key];
    const map = typeof inner === "object" && inner !== null && !Array.isArray(inner) ? inner : {};
    put(map, rest, value);
    if (Object.keys(map).length > 0) target[key] = map;
    else delete target[key];
  } else if (value === undefined) {
    delete target[key];
  } else {
    target[key] = value;
  }
}

/** Sort what the service found wrong to the fields; the rest is about the spec as a whole. */
export function errorsByField(
  fields: readonly Field[],
  detail: readonly ErrorDetail[],
): { errors: Record<string, string>; others: string[] } {
  const errors: Record<string, string> = {};
  const others: string[] = [];
  for (const { loc, msg } of detail) {
    const field = fields.find(({ path }) => path.every((key, index) => String(loc[index]) === key));
    if (field === undefined) others.push(loc.length > 0 ? `${pathKey(loc)}: ${msg}` : msg);
    else errors[pathKey(field.path)] = msg;
  }
  return { errors, others };
}
