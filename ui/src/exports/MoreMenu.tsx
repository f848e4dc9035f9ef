import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { messageOf } from "../api/client";
import { getAlertYaml, getConfigYaml, validateModel } from "../api/service";
import { Code } from "../components/Code";
import { Dialog } from "../components/Dialog";
import { download } from "../components/download";
import { Notice } from "../components/Notice";
import { Popover } from "../components/Popover";
import { detected } from "../detection/run";
import { draft, queryState } from "../query/run";
import { page, step } from "../state/page";
import { datasourceType, datasourceUrl } from "../state/server";
import { detectionCsv, detectionJson, seriesCsv } from "./plotData";
import { modelPart } from "./yaml";

/** The labels of the scores that a generated configuration writes. */
const ALIASES = { preset: "default", for: "explore", model_alias: "default", scheduler_alias: "periodic" };

type Shown = "config" | "yaml" | "alert";

/** What can be taken away. */
export function MoreMenu() {
  const [shown, setShown] = useState<Shown | null>(null);
  const hasQuery = draft.value.trim() !== "";
  const state = queryState.value;
  const hasData = detected.value !== null || state.status === "done";
  const close = (): void => setShown(null);

  return (
    <>
      <Popover label="More">
        {(closeMenu) => {
          const item = (label: string, isEnabled: boolean, action: () => void): ComponentChildren => (
            <button
              type="button"
              class="menu-item"
              disabled={!isEnabled}
              onClick={() => {
                closeMenu();
                action();
              }}
            >
              {label}
            </button>
          );
          return (
            <div class="menu">
              {item("Show current config", true, () => setShown("config"))}
              {item("Generated YAML", hasQuery, () => setShown("yaml"))}
              {item("Example alert", hasQuery, () => setShown("alert"))}
              {item("Download plot data (CSV)", hasData, downloadCsv)}
              {item("Download plot data (JSON)", hasData, downloadJson)}
            </div>
          );
        }}
      </Popover>
      {shown === "config" && <CurrentConfig onClose={close} />}
      {shown === "yaml" && <GeneratedYaml onClose={close} />}
      {shown === "alert" && <ExampleAlert onClose={close} />}
    </>
  );
}

function downloadCsv(): void {
  const state = queryState.value;
  const text =
    page.value.mode === "detect" && detected.value !== null
      ? detectionCsv(detected.value.series)
      : seriesCsv(state.status === "done" ? state.series : []);
  download("vmanomaly-plot.csv", text, "text/csv");
}

function downloadJson(): void {
  const state = queryState.value;
  const last = detected.value;
  const text =
    page.value.mode === "detect" && last !== null
      ? detectionJson(last.asked, last.series)
      : `${JSON.stringify(state.status === "done" ? { asked: state.asked, series: state.series } : {}, null, 1)}\n`;
  download("vmanomaly-plot.json", text, "application/json");
}

function Asked(props: { load: () => Promise<string>; depends: unknown; name: string; type: string }) {
  const [text, setText] = useState("");
  const [error, setError] = useState("");
  useEffect(() => {
    setError("");
    props.load().then(setText, (problem: unknown) => setError(messageOf(problem)));
  }, [props.depends]);
  if (error !== "") {
    return (
      <Notice kind="error" title="It cannot be generated">
        {error}
      </Notice>
    );
  }
  return text === "" ? <p class="hint">Loading…</p> : <Code text={text} fileName={props.name} type={props.type} />;
}

function CurrentConfig({ onClose }: { onClose: () => void }) {
  const load = async (): Promise<string> => JSON.stringify(await validateModel(page.value.model), null, 2);
  return (
    <Dialog title="Current model config" onClose={onClose}>
      <Asked load={load} depends={page.value.model} name="model.json" type="application/json" />
    </Dialog>
  );
}

function configArguments(): Record<string, string> {
  const { fitWindow, fitEvery, inferEvery, model, tenant } = page.value;
  return {
    query: draft.value,
    step: step.value,
    datasource_url: datasourceUrl.value,
    datasource_type: datasourceType.value,
    tenant_id: tenant,
    fit_window: fitWindow,
    fit_every: fitEvery,
    infer_every: inferEvery,
    model_spec: JSON.stringify(model),
  };
}

function GeneratedYaml({ onClose }: { onClose: () => void }) {
  const [isModelOnly, setModelOnly] = useState(true);
  const load = async (): Promise<string> => {
    const text = await getConfigYaml(configArguments());
    return isModelOnly ? modelPart(text) : text;
  };
  return (
    <Dialog title="Generated YAML" isWide onClose={onClose}>
      <label class="switch">
        <input type="checkbox" checked={isModelOnly} onChange={(event) => setModelOnly(event.currentTarget.checked)} />
        Model only
      </label>
      <Asked
        load={load}
        depends={isModelOnly}
        name={isModelOnly ? "model.yaml" : "config.yaml"}
        type="application/yaml"
      />
    </Dialog>
  );
}

function ExampleAlert({ onClose }: { onClose: () => void }) {
  const { threshold, consecutive, inferEvery } = page.value;
  const load = (): Promise<string> =>
    getAlertYaml({
      query: draft.value,
      step: step.value,
      anomaly_threshold: String(threshold),
      infer_every: inferEvery,
      consecutive: String(consecutive),
      ...ALIASES,
    });
  return (
    <Dialog title="Example alert" isWide onClose={onClose}>
      <p class="hint">A rule for vmalert on the scores that the generated configuration writes.</p>
      <Asked load={load} depends={null} name="alert-rule.yaml" type="application/yaml" />
    </Dialog>
  );
}
