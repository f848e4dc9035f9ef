/** LogsQL in the editor: its words, strings and numbers stand out, and fields and values are completed. */

import { type Completion, type CompletionContext, type CompletionResult, pickedCompletion } from "@codemirror/autocomplete";
import { LanguageSupport, StreamLanguage } from "@codemirror/language";
import type { EditorState } from "@codemirror/state";
import type { EditorView } from "@codemirror/view";
import { getLogFields, getLogValues } from "../api/service";
import { resolvedRange } from "../state/page";
import { datasourceFields } from "../state/server";
import { keptNames } from "./kept";
import { isSamePlace, type Place, placeOf, quotedWith, written } from "./logsqlPlace";

const wordsOf = (text: string): readonly string[] => text.split(" ");
const OPERATORS = wordsOf("and or not in");
const PIPES = wordsOf(
  "stats fields filter sort uniq top facets first last limit offset extract extract_regexp format unpack_json " +
    "unpack_logfmt replace replace_regexp math len copy rename delete field_names field_values sample " +
    "stream_context unroll join union",
);
const FUNCTIONS = wordsOf(
  "count count_uniq count_empty sum min max avg median quantile rate rate_sum row_any uniq_values",
);
const OTHERS = wordsOf("by as if rank desc asc eval head");
const WORDS: ReadonlySet<string> = new Set([...OPERATORS, ...PIPES, ...FUNCTIONS, ...OTHERS]);

/** What follows the name of a field. */
const SIGNS = { filter: ":", stream: "=", pipe: "" };
const KEYWORDS = { filter: OPERATORS, stream: [], pipe: [...FUNCTIONS, ...OTHERS] };

/** A field with more values than these is asked again for each prefix. */
const MOST_VALUES = 1000;

const language = StreamLanguage.define({
  name: "logsql",
  languageData: { closeBrackets: { brackets: ["(", "[", "{", "'", '"', "`"] } },
  token(stream) {
    if (stream.eatSpace()) return null;
    if (stream.match(/^#.*/)) return "comment";
    if (stream.match(/^("(\\.|[^"\\])*"|'(\\.|[^'\\])*'|`[^`]*`)/)) return "string";
    if (stream.match(/^-?\d+(\.\d+)?(ms|[smhdwy]|[KMGT]i?B?)?\b/)) return "number";
    if (stream.match(/^[A-Za-z_][\w.]*(?=\s*:)/)) return "labelName";
    if (stream.match(/^[A-Za-z_][\w.]*/)) return WORDS.has(stream.current()) ? "keyword" : null;
    stream.next();
    return "operator";
  },
});

export function logsQl(): LanguageSupport {
  return new LanguageSupport(language, language.data.of({ autocomplete: complete }));
}

async function complete(context: CompletionContext): Promise<CompletionResult | null> {
  const place = placeOf(context.state.sliceDoc(0, context.pos));
  if (place === null) return null;
  const { from } = place;
  if (place.kind === "value") return valuesAt(place);
  const isStream = place.kind === "field" && place.within === "stream";
  // Where anything may follow, the list comes with the first letter.
  if (from === context.pos && !context.explicit && !isStream) return null;
  if (place.kind === "pipe") return { from, options: keywords(PIPES, "pipe"), validFor: whileAt(place) };
  const asked = { query: "*", ...rangeAsked() };
  const names = await keptNames(`fields ${JSON.stringify(asked)}`, () =>
    getLogFields(datasourceFields.value, asked),
  );
  const fields = names.map((name) => ({
    label: name,
    type: "field",
    detail: "field",
    boost: 1,
    apply: written(name, WORDS) + SIGNS[place.within],
  }));
  return { from, options: [...fields, ...keywords(KEYWORDS[place.within], "keyword")], validFor: whileAt(place) };
}

/** Return whether a list still fits what has been written since it was asked for. */
function whileAt(place: Place): (typed: string, from: number, to: number, state: EditorState) => boolean {
  return (_typed, _from, to, state) => isSamePlace(place, placeOf(state.sliceDoc(0, to)));
}

async function valuesAt(place: Place & { kind: "value" }): Promise<CompletionResult> {
  const { field, typed, quote, from } = place;
  const ask = (query: string): Promise<string[]> => {
    const asked = { query, limit: String(MOST_VALUES), ...rangeAsked() };
    return keptNames(`values ${field} ${JSON.stringify(asked)}`, () =>
      getLogValues(datasourceFields.value, field, asked),
    );
  };
  let values = await ask("*");
  const isWhole = values.length < MOST_VALUES;
  if (!isWhole && typed !== "") values = await ask(`${written(field, WORDS)}:=${quotedWith('"', typed)}*`);
  const options = values.map((value) => ({
    label: quote === "" ? value : quotedWith(quote, value).slice(0, -1),
    displayLabel: value,
    type: "value",
    apply: (view: EditorView, completion: Completion, start: number, end: number) => {
      // The closing quote may be there already.
      const isClosed = quote !== "" && view.state.sliceDoc(end, end + 1) === quote;
      const text = quote === "" ? written(value, WORDS) : quotedWith(quote, value);
      const to = isClosed ? end + 1 : end;
      view.dispatch({
        changes: { from: start, to, insert: text },
        selection: { anchor: start + text.length },
        annotations: pickedCompletion.of(completion),
        userEvent: "input.complete",
      });
    },
  }));
  return { from, options, ...(isWhole ? { validFor: whileAt(place) } : {}) };
}

function keywords(words: readonly string[], detail: string): Completion[] {
  return words.map((label) => ({ label, type: "keyword", detail }));
}

/** Return the time range of the page as VictoriaLogs takes it. */
function rangeAsked(): { start: string; end: string } {
  const { from, to } = resolvedRange.value;
  return { start: String(Math.floor(from / 1000)), end: String(Math.ceil(to / 1000)) };
}
