/** A spec as YAML. The service reads it; here it is only written. */

import type { Json } from "../model/spec";

const PLAIN = /^(?:[A-Za-z_][\w.-]*|(?:\d+(?:ms|[smhdwy]))+)$/;
const TAKEN = /^(?:y|n|yes|no|on|off|true|false|null|nan|inf)$/i;

export function toYaml(mapping: Readonly<Record<string, Json>>, indent = ""): string {
  return Object.entries(mapping)
    .map(([key, value]) => {
      const name = `${indent}${scalar(key)}:`;
      return isFilledMap(value) ? `${name}\n${toYaml(value, `${indent}  `)}` : `${name} ${flow(value)}\n`;
    })
    .join("");
}

function isFilledMap(value: Json): value is Record<string, Json> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;
}

function flow(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(flow).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    return `{${Object.entries(value)
      .map(([key, each]) => `${scalar(key)}: ${flow(each)}`)
      .join(", ")}}`;
  }
  return typeof value === "string" ? scalar(value) : String(value);
}

function scalar(text: string): string {
  return PLAIN.test(text) && !TAKEN.test(text) ? text : JSON.stringify(text);
}
