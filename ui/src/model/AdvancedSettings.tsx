import { DurationField } from "../components/DurationField";
import { Popover } from "../components/Popover";
import { ValueField } from "../components/ValueField";
import { adjust, page, step } from "../state/page";

/** What applies to a run rather than to the model; each value opens its editor. */
export function AdvancedSettings({ isOnline }: { isOnline: boolean }) {
  const { threshold, consecutive, fitWindow, fitEvery, inferEvery, exact, businessBoundaries } =
    page.value;
  return (
    <div class="row wrap settings-row" role="group" aria-label="Advanced settings">
      <Setting name="Threshold" value={String(threshold)}>
        {(close) => (
          <NumberField
            label="Threshold of the anomaly score"
            hint="A point with a score above it is an anomaly. It acts at once."
            value={threshold}
            isAllowed={(value) => value >= 0}
            message="Write a number from 0 on."
            onApply={(value) => {
              adjust({ threshold: value });
              close();
            }}
          />
        )}
      </Setting>
      <Setting name="Streaks" value={consecutive > 1 ? `≥ ${consecutive}` : "off"}>
        {(close) => (
          <NumberField
            label="Anomalies in a row that count"
            hint="1 counts every anomaly. From 2 on, only streaks of that length count. It acts at once."
            value={consecutive}
            isAllowed={(value) => Number.isInteger(value) && value >= 1}
            message="Write a whole number from 1 on."
            onApply={(value) => {
              adjust({ consecutive: value });
              close();
            }}
          />
        )}
      </Setting>
      <Setting name="Fit window" value={fitWindow}>
        {(close) => (
          <DurationField
            label="Fit window"
            hint="How much history each fit learns from. It ends where the inference begins."
            value={fitWindow}
            suggestions={["6h", "1d", "3d", "7d", "14d"]}
            onApply={(value) => {
              adjust({ fitWindow: value });
              close();
            }}
          />
        )}
      </Setting>
      <Setting name="Fit every" value={fitEvery}>
        {(close) => (
          <DurationField
            label="Fit every"
            hint="How often the model is fitted again within the time range."
            value={fitEvery}
            suggestions={["1h", "6h", "1d", "7d"]}
            onApply={(value) => {
              adjust({ fitEvery: value });
              close();
            }}
          />
        )}
      </Setting>
      {isOnline && (
        <>
          <Setting name="Infer every" value={inferEvery || `step (${step.value})`}>
            {(close) => (
              <DurationField
                label="Infer every"
                hint="How often new points are scored in production."
                value={inferEvery}
                isOptional
                placeholder="step"
                suggestions={["1m", "5m", "1h"]}
                onApply={(value) => {
                  adjust({ inferEvery: value });
                  close();
                }}
              />
            )}
          </Setting>
          <Toggle
            name="Exact"
            title="The model learns from each micro-batch after it was scored, as in production"
            isOn={exact}
            onChange={(value) => adjust({ exact: value })}
          />
        </>
      )}
      <Toggle
        name="Business boundaries"
        title="Show direction and minimum deviations in the plot"
        isOn={businessBoundaries}
        onChange={(value) => adjust({ businessBoundaries: value })}
      />
    </div>
  );
}

function Setting(props: {
  name: string;
  value: string;
  children: (close: () => void) => preact.ComponentChildren;
}) {
  const { name, value, children } = props;
  return (
    <Popover
      class="setting"
      title={`${name}: ${value}`}
      label={
        <>
          <span class="setting-name">{name}</span> <span class="value">{value}</span>
        </>
      }
    >
      {children}
    </Popover>
  );
}

function Toggle(props: {
  name: string;
  title: string;
  isOn: boolean;
  onChange: (isOn: boolean) => void;
}) {
  const { name, title, isOn, onChange } = props;
  return (
    <button
      type="button"
      class={`button setting ${isOn ? "on" : ""}`}
      title={title}
      aria-pressed={isOn}
      onClick={() => onChange(!isOn)}
    >
      <span class="setting-name">{name}</span> <span class="value">{isOn ? "on" : "off"}</span>
    </button>
  );
}

function NumberField(props: {
  label: string;
  hint: string;
  value: number;
  isAllowed: (value: number) => boolean;
  message: string;
  onApply: (value: number) => void;
}) {
  const { value, isAllowed, ...field } = props;
  const read = (text: string): number | null => {
    const given = Number(text.replace(",", "."));
    return text !== "" && Number.isFinite(given) && isAllowed(given) ? given : null;
  };
  return <ValueField {...field} text={String(value)} read={read} inputMode="decimal" />;
}
