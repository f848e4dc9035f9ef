import { useId, useState } from "preact/hooks";
import { parseDuration } from "../time/duration";

interface Props {
  label: string;
  value: string;
  /** Whether nothing may stand there. */
  isOptional?: boolean;
  placeholder?: string;
  suggestions: readonly string[];
  hint?: string;
  onApply: (value: string) => void;
}

/** A duration, typed or chosen; it counts after Enter, Apply or a choice. */
export function DurationField(props: Props) {
  const { label, value, isOptional = false, placeholder, suggestions, hint, onApply } = props;
  const [text, setText] = useState(value);
  const [error, setError] = useState("");
  const id = useId();

  const apply = (given: string): void => {
    const trimmed = given.trim();
    if (trimmed === "" ? !isOptional : parseDuration(trimmed) === null) {
      setError("Write a duration such as 90s, 5m or 1d.");
      return;
    }
    // A bare number is seconds.
    onApply(/^[\d.,]+$/.test(trimmed) ? `${trimmed.replace(",", ".")}s` : trimmed);
  };

  return (
    <form
      class="small-form"
      onSubmit={(event) => {
        event.preventDefault();
        apply(text);
      }}
    >
      <label for={id}>{label}</label>
      <div class="row">
        <input
          id={id}
          class="input"
          value={text}
          placeholder={placeholder}
          aria-invalid={error !== ""}
          aria-describedby={`${id}-note`}
          onInput={(event) => {
            setText(event.currentTarget.value);
            setError("");
          }}
        />
        <button type="submit" class="button">
          Apply
        </button>
      </div>
      <p id={`${id}-note`} class={error ? "field-error" : "hint"} role={error ? "alert" : undefined}>
        {error || hint}
      </p>
      <div class="suggestions">
        {isOptional && (
          <button type="button" class={`chip ${value === "" ? "on" : ""}`} onClick={() => apply("")}>
            {placeholder ?? "auto"}
          </button>
        )}
        {suggestions.map((each) => (
          <button key={each} type="button" class={`chip ${value === each ? "on" : ""}`} onClick={() => apply(each)}>
            {each}
          </button>
        ))}
      </div>
    </form>
  );
}
