/** LogsQL in the editor: its words, strings and numbers stand out. */

import type { CompletionContext, CompletionResult } from "@codemirror/autocomplete";
import { LanguageSupport, StreamLanguage } from "@codemirror/language";

const KEYWORDS = new Set(
  (
    "and or not in by as if limit offset rank desc asc " +
    "stats count count_uniq count_empty sum min max avg median quantile rate rate_sum row_any uniq_values " +
    "fields filter sort uniq top facets extract extract_regexp format unpack_json unpack_logfmt " +
    "replace replace_regexp math eval len copy rename delete field_names field_values first last head " +
    "sample stream_context unroll join union"
  ).split(" "),
);

const language = StreamLanguage.define({
  name: "logsql",
  token(stream) {
    if (stream.eatSpace()) return null;
    if (stream.match(/^#.*/)) return "comment";
    if (stream.match(/^("(\\.|[^"\\])*"|'(\\.|[^'\\])*'|`[^`]*`)/)) return "string";
    if (stream.match(/^-?\d+(\.\d+)?(ms|[smhdwy]|[KMGT]i?B?)?\b/)) return "number";
    if (stream.match(/^[A-Za-z_][\w.]*(?=\s*:)/)) return "labelName";
    if (stream.match(/^[A-Za-z_][\w.]*/)) return KEYWORDS.has(stream.current()) ? "keyword" : null;
    stream.next();
    return "operator";
  },
});

export function logsQl(): LanguageSupport {
  return new LanguageSupport(language, language.data.of({ autocomplete: keywords }));
}

function keywords(context: CompletionContext): CompletionResult | null {
  const word = context.matchBefore(/[A-Za-z_]\w*/);
  if (word === null && !context.explicit) return null;
  const options = [...KEYWORDS].map((label) => ({ label, type: "keyword" }));
  return { from: word?.from ?? context.pos, options, validFor: /^\w*$/ };
}
