/** The query field: an editor with highlighting and completion, loaded after the page. */

import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { bracketMatching, HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { Compartment, EditorState, type Extension, Prec } from "@codemirror/state";
import { EditorView, keymap, placeholder } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { styleNonce } from "../state/page";
import { logsQl } from "./logsql";
import { metricsQl } from "./metricsql";

export interface Editor {
  setText(text: string): void;
  setLanguage(type: "vm" | "vlogs", hasCompletion: boolean): void;
  focus(): void;
  destroy(): void;
}

interface Handlers {
  onChange: (text: string) => void;
  onExecute: () => void;
  onDetect: () => void;
}

const highlighting = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier], class: "tok-keyword" },
  { tag: [tags.function(tags.variableName)], class: "tok-function" },
  { tag: [tags.string], class: "tok-string" },
  { tag: [tags.number, tags.special(tags.number)], class: "tok-number" },
  { tag: [tags.labelName], class: "tok-label" },
  { tag: [tags.operator, tags.paren, tags.brace, tags.squareBracket], class: "tok-operator" },
  { tag: [tags.comment], class: "tok-comment" },
]);

const theme = EditorView.theme({
  "&": { fontSize: "1.3rem", backgroundColor: "transparent" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55", maxHeight: "24rem", overflow: "auto" },
  ".cm-content": { padding: "0.7rem 0", caretColor: "var(--text)" },
  ".cm-line": { padding: "0 1rem" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  ".cm-placeholder": { color: "var(--text-soft)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    background: "var(--selection)",
  },
  ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": {
    backgroundColor: "var(--selection)",
    outline: "none",
  },
  ".cm-tooltip": {
    background: "var(--raised)",
    color: "var(--text)",
    border: "1px solid var(--border)",
    borderRadius: "0.6rem",
    boxShadow: "var(--shadow)",
  },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", fontSize: "1.2rem", maxHeight: "26rem" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "0.3rem 0.8rem" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { background: "var(--accent)", color: "var(--on-accent)" },
  ".cm-completionMatchedText": { textDecoration: "none", fontWeight: "700" },
  ".cm-completionDetail": { color: "var(--text-soft)", fontStyle: "normal" },
  ".cm-tooltip-autocomplete ul li[aria-selected] .cm-completionDetail": { color: "inherit" },
  ".cm-completionInfo": { maxWidth: "32rem", padding: "0.6rem 1rem" },
});

const COMPLETION = {
  icons: false,
  maxRenderedOptions: 60,
  // After the name of a field of logs its values follow.
  activateOnCompletion: ({ type }: { readonly type?: string }) => type === "field",
};

export function createEditor(parent: HTMLElement, text: string, handlers: Handlers): Editor {
  const language = new Compartment();
  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: text,
      extensions: [
        EditorView.cspNonce.of(styleNonce),
        history(),
        bracketMatching(),
        closeBrackets(),
        syntaxHighlighting(highlighting),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ "aria-label": "Query", spellcheck: "false" }),
        EditorView.domEventHandlers({ beforeinput: typeOverSelection }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) handlers.onChange(update.state.doc.toString());
        }),
        language.of([]),
        Prec.highest(
          keymap.of([
            { key: "Mod-Shift-Enter", run: ran(handlers.onDetect) },
            { key: "Mod-Enter", run: ran(handlers.onExecute) },
          ]),
        ),
        keymap.of([...closeBracketsKeymap, ...completionKeymap, ...historyKeymap, ...defaultKeymap]),
        theme,
      ],
    }),
  });
  // What scrolls has to be reachable by keyboard.
  view.scrollDOM.tabIndex = 0;
  return {
    setText(to) {
      const from = view.state.doc.toString();
      if (from !== to) view.dispatch({ changes: { from: 0, to: from.length, insert: to } });
    },
    setLanguage(type, hasCompletion) {
      const isOfLogs = type === "vlogs";
      const example = isOfLogs ? "* | stats by (level) count() as lines" : "rate(http_requests_total[5m])";
      const extension: Extension[] = [
        isOfLogs ? logsQl() : metricsQl(hasCompletion),
        placeholder(`Query, such as ${example}`),
      ];
      if (hasCompletion) extension.push(autocompletion(COMPLETION));
      view.dispatch({ effects: language.reconfigure(extension) });
    },
    focus: () => {
      view.dispatch({ selection: { anchor: view.state.doc.length } });
      view.focus();
    },
    destroy: () => view.destroy(),
  };
}

/**
 * Replace a selection by what is typed. Browsers would keep its color in a style attribute, which the
 * policy of the page forbids.
 */
function typeOverSelection(event: InputEvent, view: EditorView): boolean {
  const { data, inputType } = event;
  const { main } = view.state.selection;
  if (inputType !== "insertText" || data === null || main.empty || view.composing) return false;
  const typed = () =>
    view.state.update(view.state.replaceSelection(data), { userEvent: "input.type", scrollIntoView: true });
  const handlers = view.state.facet(EditorView.inputHandler);
  if (!handlers.some((handle) => handle(view, main.from, main.to, data, typed))) view.dispatch(typed());
  event.preventDefault();
  return true;
}

function ran(action: () => void): () => boolean {
  return () => {
    action();
    return true;
  };
}
