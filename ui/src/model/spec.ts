/** Model specs: what `models.NAME` in a configuration holds. */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** A class and its keys; keys that are missing have their defaults. */
export interface ModelSpec {
  class: string;
  [key: string]: Json;
}

export const DEFAULT_SPEC: ModelSpec = { class: "temporal_envelope" };

/** Keys that are about the query rather than the model; they survive a change of the class. */
export const DOMAIN_KEYS: readonly string[] = [
  "data_range",
  "anomaly_score_outside_data_range",
  "clip_predictions",
  "min_dev_from_expected",
  "min_rel_dev_from_expected",
  "scale",
  "detection_direction",
];

/** Return a spec of another class: domain knowledge stays, the rest goes. */
export function withClass(spec: ModelSpec, name: string): ModelSpec {
  const kept = DOMAIN_KEYS.filter((key) => key in spec).map((key) => [key, spec[key]!] as const);
  return { class: name, ...Object.fromEntries(kept) };
}

function isObject(value: unknown): value is Record<string, Json> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Read `model_config` of an address, encoded once or twice; null for what is none. */
export function readModelConfig(text: string): ModelSpec | null {
  for (const candidate of [text, decoded(text)]) {
    try {
      const given: unknown = JSON.parse(candidate);
      if (isObject(given)) return specOf(given);
    } catch {
      // Encoded once more, or nothing that can be read.
    }
  }
  return null;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function specOf(config: Record<string, Json>): ModelSpec | null {
  const { class_name: longName, ...spec } = isObject(config.modelSpec)
    ? config.modelSpec
    : isObject(config.settings)
      ? config.settings
      : {};
  // The short name, where an address has both.
  const name = [config.modelType, spec.class, longName].find(
    (each): each is string => typeof each === "string" && each !== "",
  );
  return name === undefined ? null : { ...spec, class: name };
}

/** Write a spec as `model_config`, which an address holds encoded once more. */
export function writeModelConfig(spec: ModelSpec): string {
  const { class: name, ...settings } = spec;
  return encodeURIComponent(
    JSON.stringify({ modelType: name, settings, modelSpec: spec, isValidated: true }),
  );
}

export function isDefaultSpec(spec: ModelSpec): boolean {
  return JSON.stringify(spec) === JSON.stringify(DEFAULT_SPEC);
}
