import { useSignalEffect } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { detect, execute } from "../state/actions";
import { preferences } from "../state/preferences";
import { datasourceType } from "../state/server";
import type { Editor } from "./editor";
import { draft } from "./run";

/** The query field: plain text until the editor has been loaded. */
export function QueryField() {
  const host = useRef<HTMLDivElement>(null);
  const plain = useRef<HTMLTextAreaElement>(null);
  const editor = useRef<Editor | null>(null);
  const [isLoaded, setLoaded] = useState(false);

  useEffect(() => {
    let isGone = false;
    void import("./editor").then(({ createEditor }) => {
      if (isGone || host.current === null) return;
      const isTyping = document.activeElement === plain.current;
      editor.current = createEditor(host.current, draft.value, {
        onChange: (text) => (draft.value = text),
        onExecute: execute,
        onDetect: detect,
      });
      if (isTyping) editor.current.focus();
      setLoaded(true);
    });
    return () => {
      isGone = true;
      editor.current?.destroy();
    };
  }, []);

  useSignalEffect(() => {
    // Read first: before the editor is there, too, the text has to be followed.
    const text = draft.value;
    editor.current?.setText(text);
  });
  const type = datasourceType.value;
  const { completion } = preferences.value;
  useEffect(() => editor.current?.setLanguage(type, completion), [isLoaded, type, completion]);

  return (
    <div class="query-field">
      {!isLoaded && (
        <textarea
          ref={plain}
          class="plain-query"
          aria-label="Query"
          rows={1}
          spellcheck={false}
          value={draft.value}
          onInput={(event) => (draft.value = event.currentTarget.value)}
        />
      )}
      <div ref={host} />
    </div>
  );
}
