import { useId, useState } from "preact/hooks";

export interface Choice {
  readonly value: string;
  readonly label: string;
  readonly note?: string;
}

interface Props {
  label: string;
  choices: readonly Choice[];
  selected: string;
  onChoose: (value: string) => void;
  isSearchable?: boolean;
}

/** A list to choose from, by pointer or keyboard, with a field that narrows it down. */
export function Choices({ label, choices, selected, onChoose, isSearchable = false }: Props) {
  const [text, setText] = useState("");
  const [active, setActive] = useState(() =>
    Math.max(0, choices.findIndex(({ value }) => value === selected)),
  );
  const id = useId();
  const wanted = text.trim().toLowerCase();
  const shown = choices.filter((choice) =>
    `${choice.label} ${choice.value}`.toLowerCase().includes(wanted),
  );

  const move = (event: KeyboardEvent): void => {
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1 };
    const by = steps[event.key];
    if (by !== undefined && shown.length > 0) {
      event.preventDefault();
      setActive((active + by + shown.length) % shown.length);
    } else if (event.key === "Enter" && shown[active] !== undefined) {
      event.preventDefault();
      onChoose(shown[active].value);
    }
  };

  return (
    <div class="choices" onKeyDown={move}>
      {isSearchable && (
        <input
          class="input"
          type="text"
          role="combobox"
          aria-expanded="true"
          aria-controls={id}
          aria-activedescendant={shown[active] ? `${id}-${active}` : undefined}
          aria-label={`Search ${label.toLowerCase()}`}
          placeholder="Search"
          value={text}
          onInput={(event) => {
            setText(event.currentTarget.value);
            setActive(0);
          }}
        />
      )}
      <div id={id} role="listbox" aria-label={label} class="choices-list" tabIndex={isSearchable ? -1 : 0}>
        {shown.map(({ value, label: title, note }, index) => (
          <div
            key={value}
            id={`${id}-${index}`}
            role="option"
            aria-selected={value === selected}
            class={`choice ${index === active ? "active" : ""}`}
            ref={(element) => {
              if (index === active) element?.scrollIntoView({ block: "nearest" });
            }}
            onPointerEnter={() => setActive(index)}
            onClick={() => onChoose(value)}
          >
            <span>{title}</span>
            {note !== undefined && <span class="note">{note}</span>}
          </div>
        ))}
        {shown.length === 0 && <p class="empty-note">Nothing matches “{text}”.</p>}
      </div>
    </div>
  );
}
