import { useId, useState } from "preact/hooks";

interface Props<T> {
  label: string;
  hint?: string | undefined;
  /** What stands there at first. */
  text: string;
  /** Return what a text means, or null if it means nothing that may stand there. */
  read: (text: string) => T | null;
  /** What to write, for those who wrote something else. */
  message: string;
  inputMode?: "decimal" | "text";
  placeholder?: string | undefined;
  /** Texts to choose from, each with a title. */
  suggestions?: readonly { readonly text: string; readonly title: string }[];
  onApply: (value: T) => void;
}

/** One value, typed or chosen; it counts after Enter, Apply or a choice. */
export function ValueField<T>(props: Props<T>) {
  const { label, hint, read, message, inputMode = "text", placeholder, suggestions = [], onApply } = props;
  const [text, setText] = useState(props.text);
  const [error, setError] = useState("");
  const id = useId();

  const apply = (given: string): void => {
    const value = read(given.trim());
    if (value === null) setError(message);
    else onApply(value);
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
          inputMode={inputMode}
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
      {suggestions.length > 0 && (
        <div class="suggestions">
          {suggestions.map((each) => (
            <button
              key={each.text}
              type="button"
              class={`chip ${props.text === each.text ? "on" : ""}`}
              onClick={() => apply(each.text)}
            >
              {each.title}
            </button>
          ))}
        </div>
      )}
    </form>
  );
}
