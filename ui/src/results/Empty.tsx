import { draft } from "../query/run";
import { keyNames } from "../shell/keys";
import { zone } from "../state/page";
import { datasourceUrl, serverQueries } from "../state/server";
import type { AbsoluteRange } from "../time/range";
import { formatTime } from "../time/zone";

interface Asked {
  readonly expr: string;
  readonly step: string;
  readonly range: AbsoluteRange;
  readonly datasource: string;
}

type Props =
  | { kind: "start" | "failed" | "detect" }
  | { kind: "nothing"; asked: Asked };

const SHOWN_QUERIES = 4;

/** Where a plot would be, and what to do so that there is one. */
export function Empty(props: Props) {
  if (props.kind === "nothing") {
    const { expr, step, range } = props.asked;
    // A query that ran before the service had said what its datasource is.
    const datasource = props.asked.datasource || datasourceUrl.value;
    const [from, to] = [range.from, range.to].map((each) => formatTime(each, zone.value));
    return (
      <section class="panel empty" aria-label="Results">
        <h3>No data</h3>
        <p>
          <code>{expr}</code> matched no series from {from} to {to} with the step {step}
          {datasource && (
            <>
              , at <code>{datasource}</code>
            </>
          )}
          .
        </p>
        <p class="hint">Check the spelling of metrics and labels, the time range and the datasource.</p>
      </section>
    );
  }
  if (props.kind === "failed") return null;
  if (props.kind === "detect") {
    return (
      <section class="panel empty" aria-label="Results">
        <h3>Nothing has been detected yet</h3>
        <p class="hint">
          Detect anomalies ({keyNames.detect}) starts a run. It is never started by itself, as it may read
          much data.
        </p>
      </section>
    );
  }
  const suggestions = Object.entries(serverQueries.value).slice(0, SHOWN_QUERIES);
  return (
    <section class="panel empty" aria-label="Results">
      <h3>Try a model on your data</h3>
      <ol>
        <li>Write a query and execute it ({keyNames.execute}).</li>
        <li>Choose a model, and detect anomalies ({keyNames.detect}).</li>
        <li>Take the generated YAML and the example alert with you.</li>
      </ol>
      {suggestions.length > 0 && (
        <>
          <p class="hint">The running service scores these:</p>
          <ul class="query-list">
            {suggestions.map(([name, expr]) => (
              <li key={name} class="query-item">
                <button type="button" class="query-choice" onClick={() => (draft.value = expr)}>
                  <strong>{name}</strong>
                  <code>{expr}</code>
                </button>
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}
