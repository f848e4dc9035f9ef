import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { messageOf } from "../api/client";
import type { ModelSchema } from "../api/service";
import { firstClick } from "../components/click";
import { Choices } from "../components/Choices";
import { formatSeconds } from "../components/format";
import { Icon } from "../components/Icon";
import { Notice } from "../components/Notice";
import { Panel } from "../components/Panel";
import { Popover } from "../components/Popover";
import {
  cancelDetection,
  detected,
  isOutOfDate,
  isRunning,
  runState,
} from "../detection/run";
import { draft } from "../query/run";
import { MoreMenu } from "../exports/MoreMenu";
import { keyNames } from "../shell/keys";
import { detect } from "../state/actions";
import { adjust, commit, page, zone } from "../state/page";
import { modelClasses } from "../state/server";
import { formatTime } from "../time/zone";
import { SuggestDialog } from "../suggest/SuggestDialog";
import { Wizard } from "../wizard/Wizard";
import { AdvancedSettings } from "./AdvancedSettings";
import { schemaOf } from "./schema";
import { withClass } from "./spec";
import { titleOfClass } from "./titles";

/** The model, its schedule, and what starts it. */
export function ModelPanel() {
  const [isEditing, setEditing] = useState(false);
  const [isSuggesting, setSuggesting] = useState(false);
  const schema = useSignal<ModelSchema | null>(null);
  const problem = useSignal("");
  const className = useComputed(() => page.value.model.class);

  useSignalEffect(() => {
    const name = className.value;
    schema.value = null;
    problem.value = "";
    let isOld = false;
    schemaOf(name).then(
      (found) => !isOld && (schema.value = found),
      (error: unknown) => !isOld && (problem.value = messageOf(error)),
    );
    return () => {
      isOld = true;
    };
  });

  const { model, advancedOpen } = page.value;
  const nSet = Object.keys(model).length - 1;
  return (
    <Panel title="Model" badge={<LastRun />} actions={<RunButton />}>
      <div class="row wrap">
        <Popover label={<span class="value">{titleOfClass(model.class)}</span>} title={`Model class: ${titleOfClass(model.class)}`}>
          {(close) => (
            <Choices
              label="Model classes"
              isSearchable
              selected={model.class}
              choices={modelClasses.value.map((name) => ({ value: name, label: titleOfClass(name), note: name }))}
              onChoose={(name) => {
                if (name !== model.class) commit({ model: withClass(model, name) });
                close();
              }}
            />
          )}
        </Popover>
        <button type="button" class="button" onClick={() => setEditing(true)}>
          Edit config{nSet > 0 && <span class="count">{nSet}</span>}
        </button>
        <button
          type="button"
          class="button"
          title="Suggest a model for the query"
          disabled={draft.value.trim() === ""}
          onClick={() => setSuggesting(true)}
        >
          <Icon name="wand" /> Suggest
        </button>
        <button
          type="button"
          class={`button ${advancedOpen ? "on" : ""}`}
          aria-expanded={advancedOpen}
          onClick={() => adjust({ advancedOpen: !advancedOpen })}
        >
          <Icon name="sliders" /> Advanced settings
        </button>
        <MoreMenu />
        {schema.value !== null && <span class="hint">{schema.value.description}</span>}
      </div>
      {advancedOpen && <AdvancedSettings isOnline={schema.value?.["x-online"] ?? false} />}
      {problem.value !== "" && (
        <Notice kind="error" title={`The class ${model.class} cannot be used`}>
          {problem.value}
        </Notice>
      )}
      <RunNotice />
      {isSuggesting && <SuggestDialog onClose={() => setSuggesting(false)} />}
      {isEditing && (
        <Wizard
          spec={model}
          onClose={() => setEditing(false)}
          onApply={(spec) => {
            commit({ model: spec });
            setEditing(false);
          }}
        />
      )}
    </Panel>
  );
}

function LastRun() {
  const state = runState.value;
  if (state.status === "running") {
    return (
      <span class="progress" role="status">
        <progress value={state.progress} max={100} aria-label="Progress of the detection" />
        {state.progress}% · {state.message}
      </span>
    );
  }
  const last = detected.value;
  if (last === null) return null;
  return (
    <span class="hint">
      {`Last run ${formatTime(last.finishedMs, zone.value).slice(11)}, took ${formatSeconds(last.metrics.elapsed_s)}`}
      {isOutOfDate.value && <span class="badge warning">out of date</span>}
    </span>
  );
}

function RunButton() {
  if (isRunning.value) {
    return (
      <button type="button" class="button primary" onClick={firstClick(cancelDetection)}>
        <Icon name="close" /> Cancel
      </button>
    );
  }
  return (
    <button
      type="button"
      class="button primary"
      title={`Detect anomalies (${keyNames.detect})`}
      disabled={draft.value.trim() === ""}
      onClick={firstClick(detect)}
    >
      <Icon name="pulse" /> {isOutOfDate.value ? "Run again" : "Detect anomalies"}
    </button>
  );
}

function RunNotice(): ComponentChildren {
  const state = runState.value;
  if (state.status === "error") {
    return (
      <Notice kind="error" title="The detection failed">
        {state.message}
      </Notice>
    );
  }
  if (state.status === "full") {
    const { running, max_concurrent: most } = state.limits;
    return (
      <Notice
        kind="warning"
        title={`${running} of ${most} detections are running already`}
        actions={
          <button type="button" class="button" onClick={detect}>
            Retry
          </button>
        }
      >
        Nothing has been started. Retry when one of them has ended.
      </Notice>
    );
  }
  if (state.status === "canceled") return <p class="hint">The detection was canceled.</p>;
  return null;
}
