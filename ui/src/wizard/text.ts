/** Values of fields as people write them. */

import type { Json } from "../model/spec";
import type { Field } from "./fields";

export type Read = { readonly value: Json | undefined } | { readonly error: string };

const fail = (error: string): Read => ({ error });

/** Return the texts that show a value: two for a pair, else one. Nothing where it is not set. */
export function textsOf({ kind }: Field, value: Json | undefined): string[] {
  const isPair = kind === "pair" || kind === "range";
  if (value === undefined || value === null) return isPair ? ["", ""] : [""];
  if (isPair) {
    const pair = Array.isArray(value) ? value : [value];
    return [writeNumber(pair[0] ?? ""), writeNumber(pair[1] ?? pair[0] ?? "")];
  }
  if (kind === "list" || kind === "choices") return [(Array.isArray(value) ? value : [value]).join(", ")];
  if (kind === "json") return [JSON.stringify(value)];
  return [kind === "number" || kind === "integer" ? writeNumber(value) : String(value)];
}

function writeNumber(value: Json): string {
  if (value === "inf" || value === "+inf" || value === ".inf") return "∞";
  if (value === "-inf" || value === "-.inf") return "−∞";
  return String(value);
}

/** Read what was written; an empty field is not set, and has its default. */
export function readTexts(field: Field, texts: readonly string[]): Read {
  const [first = "", second = ""] = texts.map((text) => text.trim());
  if (first === "" && second === "") {
    return field.isRequired ? fail("This is required.") : { value: undefined };
  }
  switch (field.kind) {
    case "number":
    case "integer":
      return readNumber(first, field.kind === "integer");
    case "pair":
    case "range":
      return readPair(field, first, second);
    case "switch":
      return { value: first === "true" };
    case "list":
    case "choices":
      return { value: first.split(/[,\n]/).map((each) => each.trim()).filter((each) => each !== "") };
    case "json":
      return readJson(first);
    case "text":
      return readText(field, first);
    case "choice":
      return { value: first };
  }
}

function readNumber(text: string, isWhole: boolean): Read {
  const value = numberOf(text);
  if (value === null) return fail(isWhole ? "Write a whole number." : "Write a number such as 0.1.");
  return isWhole && !Number.isInteger(value) ? fail("Write a whole number.") : { value };
}

function readPair({ kind, default: usual }: Field, first: string, second: string): Read {
  const both = [first, second].map((text, index) => {
    if (text === "") return Array.isArray(usual) ? (usual[index] ?? null) : null;
    return kind === "range" ? (endOf(text) ?? numberOf(text)) : numberOf(text);
  });
  if (both.some((value) => value === null)) {
    return fail(kind === "range" ? "Write two numbers, or −∞ and ∞." : "Write two numbers.");
  }
  return { value: both };
}

/** Read a number with a point or a comma. */
export function numberOf(text: string): number | null {
  const written = text.replace("−", "-").replace(/^([+-]?\d*),(\d+)$/, "$1.$2");
  const value = Number(written);
  return written !== "" && Number.isFinite(value) ? value : null;
}

function endOf(text: string): string | null {
  if (/^\+?(?:∞|\.?inf(?:inity)?)$/i.test(text)) return "inf";
  return /^[-−](?:∞|\.?inf(?:inity)?)$/i.test(text) ? "-inf" : null;
}

function readJson(text: string): Read {
  try {
    return { value: JSON.parse(text) as Json };
  } catch {
    return fail('Write JSON such as {"a": 1}.');
  }
}

/** Text that may be a number, such as `auto` or 0.01. */
function readText({ default: usual, suggestions }: Field, text: string): Read {
  const mayBeNumber = typeof usual === "number" || suggestions.some((each) => typeof each === "number");
  const value = numberOf(text);
  return { value: mayBeNumber && value !== null ? value : text };
}
