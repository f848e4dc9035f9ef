import { useEffect, useMemo, useState } from "preact/hooks";
import { ApiError, messageOf } from "../api/client";
import { getModelSchema, type ModelSchema, validateModel, validateModelYaml } from "../api/service";
import { Choices } from "../components/Choices";
import { Dialog } from "../components/Dialog";
import { Notice } from "../components/Notice";
import { Popover } from "../components/Popover";
import { type ModelSpec, withClass } from "../model/spec";
import { titleOfClass } from "../model/titles";
import { modelClasses, serverModels } from "../state/server";
import { withoutDefaults } from "./defaults";
import { type Draft, draftOf, errorsByField, specOf } from "./draft";
import { FieldInput, FieldRow } from "./FieldRow";
import { type Field, fieldsOf, pathKey } from "./fields";
import { toYaml } from "./yaml";
import "./wizard.css";

export interface WizardProps {
  /** What the page has; left as it is until `onApply`. */
  spec: ModelSpec;
  /** Gets a spec that the service has found right. */
  onApply: (spec: ModelSpec) => void;
  onClose: () => void;
}

type Tab = "settings" | "yaml";

interface Findings {
  readonly errors: Readonly<Record<string, string>>;
  readonly others: readonly string[];
}

const NOTHING: Findings = { errors: {}, others: [] };

/** Edits the configuration of the model: a form made from its schema, and the same as YAML. */
export function Wizard({ spec, onApply, onClose }: WizardProps) {
  const [base, setBase] = useState(spec);
  const [schema, setSchema] = useState<ModelSchema | null>(null);
  const [draft, setDraft] = useState<Draft>({});
  const [tab, setTab] = useState<Tab>("settings");
  const [yaml, setYaml] = useState<string | null>(null);
  const [findings, setFindings] = useState(NOTHING);
  /** What could not be asked, and why. */
  const [failure, setFailure] = useState<{ title: string; text: string } | null>(null);
  const [said, setSaid] = useState("");
  const [isBusy, setBusy] = useState(false);
  const fields = useMemo(() => (schema === null ? [] : fieldsOf(schema)), [schema]);

  useEffect(() => {
    let isOld = false;
    getModelSchema(base.class).then(
      (found) => {
        if (isOld) return;
        setSchema(found);
        setDraft(draftOf(fieldsOf(found), base));
      },
      (problem: unknown) => {
        const title = `The keys of ${titleOfClass(base.class)} cannot be read`;
        if (!isOld) setFailure({ title, text: messageOf(problem) });
      },
    );
    return () => {
      isOld = true;
    };
  }, [base]);

  const outcome = specOf(fields, draft, base);
  const isDirty =
    yaml !== null || (schema !== null && JSON.stringify(outcome.spec) !== JSON.stringify(spec));
  const start = (from: ModelSpec): void => {
    setSchema(null);
    setBase(from);
    setFindings(NOTHING);
    setFailure(null);
    setSaid("");
    setYaml(null);
  };

  /** Return the spec as the service normalizes it, without defaults; null for a draft that is wrong. */
  const check = async (): Promise<ModelSpec | null> => {
    setSaid("");
    setFailure(null);
    if (tab === "settings" && Object.keys(outcome.errors).length > 0) {
      setFindings({ errors: outcome.errors, others: [] });
      return null;
    }
    setBusy(true);
    try {
      const isText = tab === "yaml" && yaml !== null;
      const full = isText ? await validateModelYaml(yaml) : await validateModel(outcome.spec);
      setFindings(NOTHING);
      return isText ? await withoutDefaults(full) : { ...outcome.spec, class: full.class };
    } catch (problem) {
      if (!(problem instanceof ApiError)) {
        setFailure({ title: "The configuration cannot be checked", text: messageOf(problem) });
        return null;
      }
      const { detail } = problem;
      const found = errorsByField(fields, detail);
      setFindings(detail.length > 0 ? found : { errors: {}, others: messageOf(problem).split("; ") });
      return null;
    } finally {
      setBusy(false);
    }
  };

  return (
    <Dialog
      title="Model configuration"
      isWide
      isDirty={isDirty}
      onClose={onClose}
      footer={
        <>
          <span class="wizard-said" role="status">
            {said}
          </span>
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button
            type="button"
            class="button"
            disabled={isBusy || schema === null}
            onClick={async () => (await check()) !== null && setSaid("The configuration is right.")}
          >
            Validate
          </button>
          <button
            type="button"
            class="button primary"
            disabled={isBusy || schema === null}
            onClick={async () => {
              const valid = await check();
              if (valid !== null) onApply(valid);
            }}
          >
            Apply
          </button>
        </>
      }
    >
      <div class="row wrap wizard-head">
        <ClassPicker spec={base} onChoose={(name) => start(withClass(outcome.spec, name))} />
        <ScheduledModels onChoose={start} />
        <span class="spacer" />
        <div class="row" role="tablist" aria-label="How to edit">
          {(["settings", "yaml"] as const).map((each) => (
            <button
              key={each}
              type="button"
              role="tab"
              id={`wizard-tab-${each}`}
              class={`chip ${tab === each ? "on" : ""}`}
              aria-selected={tab === each}
              aria-controls="wizard-panel"
              onClick={async () => {
                if (each === tab) return;
                if (each === "settings" && yaml !== null) {
                  // What was written there becomes the form, once it is right.
                  const valid = await check();
                  if (valid === null) return;
                  start(valid);
                }
                setTab(each);
                setSaid("");
              }}
            >
              {each === "settings" ? "Settings" : "YAML"}
            </button>
          ))}
        </div>
      </div>
      {findings.others.length > 0 && (
        <Notice kind="error" title="The configuration is not right">
          {findings.others.join("\n")}
        </Notice>
      )}
      {failure !== null && (
        <Notice
          kind="error"
          title={failure.title}
          actions={
            schema === null ? (
              <button type="button" class="button" onClick={() => start({ ...base })}>
                Retry
              </button>
            ) : undefined
          }
        >
          {failure.text}
        </Notice>
      )}
      <div id="wizard-panel" role="tabpanel" aria-labelledby={`wizard-tab-${tab}`}>
        {schema === null ? (
          failure === null && (
            <p class="hint" role="status">
              Reading the keys of {titleOfClass(base.class)}…
            </p>
          )
        ) : tab === "settings" ? (
          <Form
            fields={fields}
            draft={draft}
            errors={findings.errors}
            onChange={(key, texts) => {
              setDraft({ ...draft, [key]: texts });
              const { [key]: _mended, ...errors } = findings.errors;
              setFindings({ ...findings, errors });
              setSaid("");
            }}
            onLeave={(key) => {
              const error = outcome.errors[key];
              if (error !== undefined) setFindings({ ...findings, errors: { ...findings.errors, [key]: error } });
            }}
          />
        ) : (
          <textarea
            class="input mono wizard-yaml"
            aria-label="The model as YAML"
            rows={18}
            spellcheck={false}
            value={yaml ?? toYaml(outcome.spec)}
            onInput={(event) => {
              setYaml(event.currentTarget.value);
              setSaid("");
            }}
          />
        )}
      </div>
    </Dialog>
  );
}

function ClassPicker({ spec, onChoose }: { spec: ModelSpec; onChoose: (name: string) => void }) {
  return (
    <Popover
      title={`Class: ${titleOfClass(spec.class)}`}
      label={
        <>
          <span class="setting-name">Class</span> <span class="value">{titleOfClass(spec.class)}</span>
        </>
      }
    >
      {(close) => (
        <Choices
          label="Classes"
          isSearchable
          selected={spec.class}
          choices={modelClasses.value.map((name) => ({ value: name, label: titleOfClass(name), note: name }))}
          onChoose={(name) => {
            if (name !== spec.class) onChoose(name);
            close();
          }}
        />
      )}
    </Popover>
  );
}

/** The models of the running service, any of which can be the start. */
function ScheduledModels({ onChoose }: { onChoose: (spec: ModelSpec) => void }) {
  const models = Object.entries(serverModels.value).filter(([, model]) => model.is_ui_selectable);
  if (models.length === 0) return null;
  return (
    <Popover label={<span class="setting-name">Scheduled model</span>} title="Start from a scheduled model">
      {(close) => (
        <Choices
          label="Scheduled models"
          isSearchable
          selected=""
          choices={models.map(([name, { model_configuration: spec }]) => ({
            value: name,
            label: name,
            note: spec.class,
          }))}
          onChoose={async (name) => {
            close();
            const found = models.find(([each]) => each === name)?.[1].model_configuration;
            if (found !== undefined) onChoose(await withoutDefaults(found));
          }}
        />
      )}
    </Popover>
  );
}

interface FormProps {
  fields: readonly Field[];
  draft: Draft;
  errors: Readonly<Record<string, string>>;
  onChange: (key: string, texts: string[]) => void;
  onLeave: (key: string) => void;
}

function Form({ fields, draft, errors, onChange, onLeave }: FormProps) {
  const propsOf = (field: Field) => {
    const key = pathKey(field.path);
    return {
      field,
      texts: draft[key] ?? [""],
      error: errors[key],
      onChange: (texts: string[]) => onChange(key, texts),
      onLeave: () => onLeave(key),
    };
  };
  const ofModel = fields.filter(({ isDomain }) => !isDomain);
  const groups = [
    ["Model settings", ofModel.filter(({ isAdvanced }) => !isAdvanced)],
    ["Rarely needed", ofModel.filter(({ isAdvanced }) => isAdvanced)],
  ] as const;
  return (
    <>
      <section class="wizard-part" aria-labelledby="wizard-domain">
        <h3 id="wizard-domain">Domain knowledge</h3>
        <p class="hint">What you know about the values; it stays when the class changes.</p>
        <div class="wizard-domain">
          {fields
            .filter(({ isDomain }) => isDomain)
            .map((field) => (
              <FieldInput key={pathKey(field.path)} {...propsOf(field)} />
            ))}
        </div>
      </section>
      {groups.map(
        ([title, group]) =>
          group.length > 0 && (
            <section key={title} class="wizard-part" aria-label={title}>
              <h3>{title}</h3>
              {group.map((field) => (
                <FieldRow key={pathKey(field.path)} {...propsOf(field)} isOpenAtFirst={field.isRequired} />
              ))}
            </section>
          ),
      )}
    </>
  );
}
