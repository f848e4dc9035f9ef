import { useId, useState } from "preact/hooks";
import { Icon } from "../components/Icon";
import type { Json } from "../model/spec";
import { type Field, pathKey } from "./fields";
import { readTexts, textsOf } from "./text";

interface Props {
  field: Field;
  texts: readonly string[];
  /** What the service, or a look at the text, found wrong. */
  error: string | undefined;
  onChange: (texts: string[]) => void;
  /** Told when the field is left. */
  onLeave: () => void;
}

/** One parameter: folded, its name and value; open, what it means and where it is set. */
export function FieldRow(props: Props & { isOpenAtFirst?: boolean }) {
  const { field, texts, error } = props;
  const [isOpen, setOpen] = useState(props.isOpenAtFirst ?? false);
  const id = useId();
  const isShown = isOpen || error !== undefined;
  const isSet = texts.some((text) => text.trim() !== "");
  return (
    <div class={`field-row ${error === undefined ? "" : "wrong"}`}>
      <button
        type="button"
        class={`fold ${isShown ? "open" : ""}`}
        aria-expanded={isShown}
        aria-controls={id}
        onClick={() => setOpen(!isShown)}
      >
        <Icon name="chevron" />
        <span class="field-name">{field.label}</span>
        <span class={`field-value ${isSet ? "" : "hint"}`}>{isSet ? shown(field, texts) : usual(field)}</span>
      </button>
      {isShown && (
        <div id={id} class="field-open">
          <FieldInput {...props} />
        </div>
      )}
    </div>
  );
}

function shown({ kind }: Field, texts: readonly string[]): string {
  if (kind === "pair" || kind === "range") return texts.map((text) => text || "·").join(" … ");
  if (kind === "switch") return texts[0] === "true" ? "on" : "off";
  return texts[0]!;
}

function usual(field: Field): string {
  const texts = textsOf(field, field.default);
  const text = texts.every((each) => each === "") ? "" : shown(field, texts);
  if (text === "" || text === "{}") return field.isRequired ? "required" : "not set";
  return `${text}, the default`;
}

/** What a parameter is set with, and its explanation, which stays until it is clicked away. */
export function FieldInput({ field, texts, error, onChange, onLeave }: Props) {
  const [hasNote, setNote] = useState(false);
  const id = useId();
  return (
    <div class="field">
      <div class="row">
        <label for={id}>{field.label}</label>
        {field.description !== "" && (
          <button
            type="button"
            class={`button quiet icon-only ${hasNote ? "on" : ""}`}
            aria-label={`What ${field.label} means`}
            aria-expanded={hasNote}
            onClick={() => setNote(!hasNote)}
          >
            <Icon name="info" />
          </button>
        )}
      </div>
      {hasNote && (
        <p class="field-note">
          {withCode(field.description)} <code>{pathKey(field.path)}</code>
        </p>
      )}
      <Input id={id} field={field} texts={texts} error={error} onChange={onChange} onLeave={onLeave} />
      {error !== undefined && (
        <p id={`${id}-error`} class="field-error" role="alert">
          {error}
        </p>
      )}
    </div>
  );
}

/** Show what stands between backticks as code. */
function withCode(text: string) {
  return text.split("`").map((part, index) => (index % 2 === 1 ? <code key={index}>{part}</code> : part));
}

function Input(props: Props & { id: string }) {
  const { id, field, texts, error, onChange, onLeave } = props;
  const described = error === undefined ? undefined : `${id}-error`;
  switch (field.kind) {
    case "switch": {
      const isOn = (texts[0] || String(field.default)) === "true";
      return (
        <label class="switch">
          <input
            id={id}
            type="checkbox"
            role="switch"
            checked={isOn}
            onChange={(event) => onChange([String(event.currentTarget.checked)])}
          />
          {isOn ? "on" : "off"}
        </label>
      );
    }
    case "choice":
      return (
        <div class="row wrap" role="group" aria-label={field.label}>
          {field.options.map((option) => {
            const isOn = (texts[0] || field.default) === option;
            return (
              <button
                key={option}
                id={option === field.options[0] ? id : undefined}
                type="button"
                class={`chip ${isOn ? "on" : ""}`}
                aria-pressed={isOn}
                onClick={() => onChange([option])}
              >
                {option.replaceAll("_", " ")}
              </button>
            );
          })}
        </div>
      );
    case "choices":
      return <ManyChoices {...props} />;
    case "pair":
    case "range": {
      const names = field.kind === "range" ? ["lowest", "highest"] : ["lower", "upper"];
      const usual = textsOf(field, field.default);
      return (
        <div class="row">
          {names.map((name, index) => (
            <TextInput
              key={name}
              id={index === 0 ? id : `${id}-${name}`}
              label={`${field.label}, ${name}`}
              value={texts[index] ?? ""}
              placeholder={usual[index] || name}
              isWrong={error !== undefined}
              described={described}
              suggestions={[]}
              onChange={(text) => onChange(index === 0 ? [text, texts[1] ?? ""] : [texts[0] ?? "", text])}
              onLeave={onLeave}
            />
          ))}
        </div>
      );
    }
    default: {
      const usual = textsOf(field, field.default)[0]!;
      return (
        <TextInput
          id={id}
          value={texts[0] ?? ""}
          placeholder={usual || placeholderOf(field)}
          isWrong={error !== undefined}
          described={described}
          suggestions={field.suggestions.map((each) => textsOf(field, each)[0]!)}
          isCode={field.kind === "json"}
          onChange={(text) => onChange([text])}
          onLeave={onLeave}
        />
      );
    }
  }
}

function placeholderOf({ kind }: Field): string {
  return kind === "list" ? "separated by commas" : "";
}

function ManyChoices({ id, field, texts, onChange }: Props & { id: string }) {
  const read = readTexts(field, texts);
  const set = "value" in read && Array.isArray(read.value) ? (read.value as Json[]) : null;
  const chosen = set ?? (Array.isArray(field.default) ? field.default : []);
  return (
    <div class="row wrap" role="group" aria-label={field.label}>
      {field.options.map((option) => {
        const isOn = chosen.includes(option);
        const next = isOn ? chosen.filter((each) => each !== option) : [...chosen, option];
        return (
          <button
            key={option}
            id={option === field.options[0] ? id : undefined}
            type="button"
            class={`chip ${isOn ? "on" : ""}`}
            aria-pressed={isOn}
            onClick={() => onChange([next.join(", ")])}
          >
            {option}
          </button>
        );
      })}
    </div>
  );
}

interface TextProps {
  id: string;
  label?: string;
  value: string;
  placeholder: string;
  isWrong: boolean;
  described: string | undefined;
  suggestions: readonly string[];
  isCode?: boolean;
  onChange: (text: string) => void;
  onLeave: () => void;
}

/** A field whose suggestions Tab fills in, one after the other; after the last one it moves on. */
function TextInput(props: TextProps) {
  const { id, label, value, placeholder, isWrong, described, suggestions, isCode, onChange, onLeave } = props;
  const listId = `${id}-suggestions`;
  return (
    <>
      <input
        id={id}
        class={`input ${isCode ? "mono" : ""}`}
        aria-label={label}
        value={value}
        placeholder={placeholder}
        list={suggestions.length > 0 ? listId : undefined}
        aria-invalid={isWrong}
        aria-describedby={described}
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => onChange(event.currentTarget.value)}
        onBlur={onLeave}
        onKeyDown={(event) => {
          if (event.key !== "Tab" || event.shiftKey || event.ctrlKey || event.altKey) return;
          const next = nextSuggestion(value, suggestions);
          if (next === null) return;
          event.preventDefault();
          onChange(next);
        }}
      />
      {suggestions.length > 0 && (
        <datalist id={listId}>
          {suggestions.map((each) => (
            <option key={each} value={each} />
          ))}
        </datalist>
      )}
    </>
  );
}

/** Return what Tab fills in: the first suggestion, then the one after what stands there. */
export function nextSuggestion(value: string, suggestions: readonly string[]): string | null {
  if (value.trim() === "") return suggestions[0] ?? null;
  const at = suggestions.indexOf(value.trim());
  return at < 0 ? null : (suggestions[at + 1] ?? null);
}
