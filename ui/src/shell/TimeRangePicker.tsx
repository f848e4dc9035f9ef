import { useId, useState } from "preact/hooks";
import { Icon } from "../components/Icon";
import { Popover } from "../components/Popover";
import { forgetZoom } from "../results/zoom";
import { chooseRange } from "../state/actions";
import { now, page, resolvedRange, zone } from "../state/page";
import { isAbsolute, RELATIVE_RANGES, type TimeRange, titleOf } from "../time/range";
import { formatOffset, formatRange, formatTime, parseTime } from "../time/zone";

export function TimeRangePicker() {
  const { range } = page.value;
  const { from, to } = resolvedRange.value;
  const text = isAbsolute(range) ? formatRange(from, to, zone.value, now.value) : titleOf(range.relative);
  return (
    <Popover
      align="end"
      title={`Time range: ${text}`}
      label={
        <>
          <Icon name="clock" /> <span class="value range-text">{text}</span>
        </>
      }
    >
      {(close) => (
        <RangeForm
          onChoose={(chosen) => {
            forgetZoom();
            chooseRange(chosen);
            close();
          }}
        />
      )}
    </Popover>
  );
}

function RangeForm({ onChoose }: { onChoose: (range: TimeRange) => void }) {
  const shown = resolvedRange.value;
  const [from, setFrom] = useState(formatTime(shown.from, zone.value));
  const [to, setTo] = useState(formatTime(shown.to, zone.value));
  const [error, setError] = useState("");
  const id = useId();
  const { range } = page.value;

  const apply = (): void => {
    const [first, last] = [parseTime(from, zone.value), parseTime(to, zone.value)];
    if (first === null || last === null) setError("Write times such as 2026-03-01 09:30:00.");
    else if (first >= last) setError("The range ends before it begins.");
    else onChoose({ from: first, to: last });
  };

  return (
    <div class="range-form">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          apply();
        }}
      >
        <label for={`${id}-from`}>From</label>
        <input
          id={`${id}-from`}
          class="input mono"
          value={from}
          aria-invalid={error !== ""}
          aria-describedby={`${id}-note`}
          onInput={(event) => setFrom(event.currentTarget.value)}
        />
        <label for={`${id}-to`}>To</label>
        <input
          id={`${id}-to`}
          class="input mono"
          value={to}
          aria-invalid={error !== ""}
          aria-describedby={`${id}-note`}
          onInput={(event) => setTo(event.currentTarget.value)}
        />
        <p id={`${id}-note`} class={error ? "field-error" : "hint"} role={error ? "alert" : undefined}>
          {error || `${zone.value || "Time zone of the browser"}, ${formatOffset(shown.to, zone.value)}`}
        </p>
        <button type="submit" class="button primary">
          Apply
        </button>
      </form>
      <div class="range-list">
        {RELATIVE_RANGES.map((each) => {
          const isOn = !isAbsolute(range) && range.relative === each.id;
          return (
            <button
              key={each.id}
              type="button"
              class={`menu-item ${isOn ? "on" : ""}`}
              aria-pressed={isOn}
              onClick={() => onChoose({ relative: each.id })}
            >
              {each.title}
            </button>
          );
        })}
      </div>
    </div>
  );
}
