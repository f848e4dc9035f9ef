import { useState } from "preact/hooks";
import { copyText, download } from "./download";
import { Icon } from "./Icon";

/** Text to take away: copied or as a file. */
export function Code({ text, fileName, type }: { text: string; fileName: string; type: string }) {
  const [said, setSaid] = useState("");
  return (
    <div class="code">
      <div class="row end">
        <span class="hint" role="status">
          {said}
        </span>
        <button
          type="button"
          class="button"
          onClick={async () => setSaid((await copyText(text)) ? "Copied" : "Select the text to copy it")}
        >
          <Icon name="copy" /> Copy
        </button>
        <button type="button" class="button" onClick={() => download(fileName, text, type)}>
          <Icon name="download" /> Download
        </button>
      </div>
      {/* A region that scrolls has to be reachable by keyboard. */}
      <pre tabIndex={0} aria-label={fileName}>
        {text}
      </pre>
    </div>
  );
}
