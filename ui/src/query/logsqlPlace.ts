/** What can follow in a LogsQL query, from the text before the cursor. */

/** Where something can be completed; `from` is where its text starts. */
export type Place =
  | {
      readonly kind: "field";
      readonly from: number;
      /** A value follows the name in a filter, of log lines or of streams. */
      readonly within: "filter" | "stream" | "pipe";
    }
  | {
      readonly kind: "value";
      readonly field: string;
      readonly from: number;
      /** What has been written of it. */
      readonly typed: string;
      /** The quote that it began with. */
      readonly quote: string;
    }
  | { readonly kind: "pipe"; readonly from: number };

interface Token {
  readonly from: number;
  readonly text: string;
  readonly kind: "word" | "string" | "sign" | "comment";
  /** Whether it is a string that has no end yet. */
  readonly isOpen: boolean;
}

const TOKEN =
  /(?<space>\s+)|(?<comment>#[^\n]*)|(?<string>"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?|`[^`]*`?)|(?<word>[\p{L}\p{N}_.]+)|(?<sign>[^])/gu;

/** Signs that may stand in a value without quotes. */
const JOINING = /[-/+@&$%;?^\\]/;
/** Functions with a list of values of a field. */
const OF_VALUES = /^(not_)?in$|^contains_(any|all)$|^equals_common_case$/;
/** Pipes, and conditions within them, that hold a filter. */
const FILTERING = /^(filter|where|if)$/;

/** Return what can be completed at the end of the text. */
export function placeOf(before: string): Place | null {
  const tokens = tokensOf(before);
  const last = tokens.at(-1);
  if (last?.kind === "comment" && !before.endsWith("\n")) return null;
  const bare = bareValue(tokens, before.length);
  if (bare !== null) return { kind: "value", ...bare, typed: before.slice(bare.from), quote: "" };
  const isWriting = last !== undefined && (last.kind === "word" ? end(last) === before.length : last.isOpen);
  const done = isWriting ? tokens.slice(0, -1) : tokens;
  const from = isWriting ? last.from : before.length;
  const quote = isWriting && last.kind === "string" ? last.text[0]! : "";
  const typed = isWriting ? (quote === "" ? last.text : unquoted(last.text)) : "";

  const { open, pipe } = surroundings(done);
  const inStream = open !== null && done[open]!.text === "{";
  const field = fieldBefore(done, open, inStream);
  if (field !== null) return { kind: "value", field, from, typed, quote };
  // Elsewhere quotes hold phrases, which only who writes them knows.
  if (quote !== "") return null;
  // Regular expressions and numbers are not names.
  if (isSign(done.at(-1), ":", "~", "<", ">", "=")) return null;
  if (isListed(done, open) && pipe < open!) return null;
  if (inStream) return isSign(done.at(-1), "{", ",") ? { kind: "field", from, within: "stream" } : null;
  if (pipe === done.length - 1 && pipe >= 0) return { kind: "pipe", from };
  const isFilter = pipe < 0 || isWord(done[pipe + 1], FILTERING) || (open !== null && isWord(done[open - 1], FILTERING));
  return { kind: "field", from, within: isFilter ? "filter" : "pipe" };
}

/** Whether what can be completed at two places is the same, whatever has been written of it. */
export function isSamePlace(a: Place | null, b: Place | null): boolean {
  if (a === null || b === null || a.kind !== b.kind || a.from !== b.from) return false;
  if (a.kind === "value") return b.kind === "value" && a.field === b.field && a.quote === b.quote;
  return a.kind !== "field" || (b.kind === "field" && a.within === b.within);
}

function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  for (const match of text.matchAll(TOKEN)) {
    const [kind] = Object.entries(match.groups!).find(([, found]) => found !== undefined)!;
    if (kind === "space") continue;
    const isOpen = kind === "string" && !isClosed(match[0]);
    tokens.push({ from: match.index, text: match[0], kind: kind as Token["kind"], isOpen });
  }
  return tokens;
}

function isClosed(text: string): boolean {
  const quote = text[0]!;
  if (text.length < 2 || !text.endsWith(quote)) return false;
  return quote === "`" || (/\\*$/.exec(text.slice(1, -1))![0].length % 2 === 0);
}

const end = ({ from, text }: Token): number => from + text.length;
const isSign = (token: Token | undefined, ...signs: string[]): boolean =>
  token?.kind === "sign" && signs.includes(token.text);
const isWord = (token: Token | undefined, words: RegExp): boolean =>
  token?.kind === "word" && words.test(token.text);

/** Return the innermost bracket that is open, and the pipe sign that what follows belongs to. */
function surroundings(tokens: readonly Token[]): { open: number | null; pipe: number } {
  const opened: { at: number; pipe: number }[] = [];
  let pipe = -1;
  tokens.forEach((token, at) => {
    if (isSign(token, "(", "{", "[")) opened.push({ at, pipe });
    else if (isSign(token, ")", "}", "]")) pipe = opened.pop()?.pipe ?? pipe;
    else if (isSign(token, "|")) pipe = at;
  });
  return { open: opened.at(-1)?.at ?? null, pipe };
}

/** Return the field that a value is written for, or null. */
function fieldBefore(done: readonly Token[], open: number | null, inStream: boolean): string | null {
  let at = done.length - 1;
  if (open !== null && isListed(done, open)) {
    if (!isSign(done[at], "(", ",")) return null;
    at = open - 2;
    if (inStreamBefore(done, open)) return nameOf(done[at]);
  } else if (inStream) {
    if (!isSign(done[at], "=")) return null;
    at -= 1;
    if (isSign(done[at], "!")) at -= 1;
    return nameOf(done[at]);
  }
  while (isSign(done[at], "=", "!")) at -= 1;
  return isSign(done[at], ":") ? nameOf(done[at - 1]) : null;
}

/** Return the field, and the start, of a value without quotes that has a sign in it, such as `web-1`. */
function bareValue(tokens: readonly Token[], length: number): { field: string; from: number } | null {
  let first = tokens.length;
  let from = length;
  while (first > 0 && isBare(tokens[first - 1]!) && end(tokens[first - 1]!) === from) from = tokens[--first]!.from;
  const done = tokens.slice(0, first);
  const { open } = surroundings(done);
  const field = first < tokens.length ? fieldBefore(done, open, open !== null && done[open]!.text === "{") : null;
  return field === null ? null : { field, from };
}

const isBare = ({ kind, text }: Token): boolean => kind === "word" || (kind === "sign" && JOINING.test(text));

function isListed(done: readonly Token[], open: number | null): boolean {
  return open !== null && isSign(done[open], "(") && isWord(done[open - 1], OF_VALUES);
}

function inStreamBefore(done: readonly Token[], open: number): boolean {
  const outer = surroundings(done.slice(0, open)).open;
  return outer !== null && isSign(done[outer], "{");
}

function nameOf(token: Token | undefined): string | null {
  if (token?.kind === "word") return token.text;
  return token?.kind === "string" && !token.isOpen ? unquoted(token.text) : null;
}

function unquoted(text: string): string {
  const quote = text[0]!;
  const content = isClosed(text) ? text.slice(1, -1) : text.slice(1);
  return quote === "`" ? content : content.replace(/\\(.)/g, "$1");
}

/** Return a name or value as LogsQL reads it; words of the language need quotes. */
export function written(text: string, words: ReadonlySet<string>): string {
  return /^[\p{L}_][\p{L}\p{N}_.]*$/u.test(text) && !words.has(text.toLowerCase()) ? text : quotedWith('"', text);
}

/** Return a text between quotes of one kind. */
export function quotedWith(quote: string, text: string): string {
  if (quote === "`" && !text.includes("`")) return `\`${text}\``;
  const mark = quote === "'" ? "'" : '"';
  const escaped = text.replace(/[\\\n\r\t]/g, (found) => ESCAPES[found]!).replaceAll(mark, `\\${mark}`);
  return `${mark}${escaped}${mark}`;
}

const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };
