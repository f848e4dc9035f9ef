import { useState } from "preact/hooks";
import { ApiError, messageOf } from "../api/client";
import { validateModel } from "../api/service";
import { Dialog } from "../components/Dialog";
import { Notice } from "../components/Notice";
import type { ModelSpec } from "../model/spec";

export interface WizardProps {
  /** What the page has; left as it is until `onApply`. */
  spec: ModelSpec;
  /** Gets a spec that the service has found right. */
  onApply: (spec: ModelSpec) => void;
  onClose: () => void;
}

/** Edits the configuration of the model. */
export function Wizard({ spec, onApply, onClose }: WizardProps) {
  const written = JSON.stringify(spec, null, 2);
  const [text, setText] = useState(written);
  const [error, setError] = useState("");

  const apply = async (): Promise<void> => {
    try {
      const given = JSON.parse(text) as ModelSpec;
      const { class: name } = await validateModel(given);
      // Without the defaults, which would only make the address longer.
      onApply({ ...given, class: name });
    } catch (problem) {
      setError(
        problem instanceof ApiError ? problem.message.split("; ").join("\n") : messageOf(problem),
      );
    }
  };

  return (
    <Dialog
      title="Model configuration"
      isDirty={text !== written}
      onClose={onClose}
      footer={
        <>
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button type="button" class="button primary" onClick={() => void apply()}>
            Apply
          </button>
        </>
      }
    >
      <textarea
        class="input mono"
        aria-label="Spec of the model, as JSON"
        rows={14}
        spellcheck={false}
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setError("");
        }}
      />
      {error !== "" && (
        <Notice kind="error" title="The configuration is not right">
          {error}
        </Notice>
      )}
    </Dialog>
  );
}
