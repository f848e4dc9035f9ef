import { useSignalEffect } from "@preact/signals";
import { useEffect, useId, useState } from "preact/hooks";
import { Icon } from "../components/Icon";
import { Notice } from "../components/Notice";
import { formatNumber } from "../components/format";
import { tabParams, zone } from "../state/page";
import { prefer, preferences } from "../state/preferences";
import { datasourceInfo } from "../state/server";
import { parseDuration } from "../time/duration";
import { formatTime } from "../time/zone";
import type { Incident, Incidents as Found } from "./api";
import { IncidentItem } from "./IncidentItem";
import { ask, error, found, isAsking, show, stopAsking } from "./run";
import { FILTERS, type Filter, type IncidentsState, type Order, readIncidentsState, SPANS } from "./state";
import { Timeline } from "./Timeline";
import { severityOf } from "./words";
import "./incidents.css";

const REFRESH_EVERY_MS = 30_000;
const ORDERS: readonly (readonly [Order, string])[] = [
  ["newest", "Newest first"],
  ["severest", "Most severe first"],
];
const TITLES: Readonly<Record<Filter, string>> = {
  preset: "Preset",
  scheduler_alias: "Scheduler",
  model_alias: "Model",
  query: "Query",
};

/** The tab that tells what is anomalous now, and what was. */
export function Incidents() {
  const state = readIncidentsState(tabParams.value);
  useSignalEffect(() => {
    // Asked again when the address changes, and when it is known where scores are.
    void tabParams.value;
    void datasourceInfo.value;
    void ask();
  });
  useEffect(() => stopAsking, []);
  useEffect(() => {
    if (state.window !== null) return;
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") void ask();
    }, REFRESH_EVERY_MS);
    return () => clearInterval(timer);
  }, [state.window === null]);
  const data = found.value;
  return (
    <>
      <h1 class="off-screen">Incidents</h1>
      <Toolbar state={state} data={data} />
      {error.value !== "" && (
        <Notice
          kind="error"
          title="The incidents cannot be read"
          actions={
            <button type="button" class="button" onClick={() => void ask()}>
              Retry
            </button>
          }
        >
          {error.value}
        </Notice>
      )}
      {data === null && error.value === "" && (
        <div class="loading" role="status">
          Looking for incidents…
        </div>
      )}
      {data !== null && (
        <>
          <Overview data={data} state={state} />
          <IncidentList data={data} state={state} />
        </>
      )}
    </>
  );
}

function Toolbar({ state, data }: { state: IncidentsState; data: Found | null }) {
  const narrowed = Object.entries(state.filters) as [Filter, string][];
  return (
    <section class="panel incidents-tools" aria-label="Range and filters">
      <div class="row wrap" role="group" aria-label="Range">
        {SPANS.map((span) => {
          const isOn = state.window === null && parseDuration(state.since) === parseDuration(span);
          return (
            <button
              key={span}
              type="button"
              class={`chip ${isOn ? "on" : ""}`}
              aria-pressed={isOn}
              onClick={() => show({ ...state, since: span, window: null })}
            >
              Last {span}
            </button>
          );
        })}
        {state.window !== null && (
          <Chip
            label={`${formatTime(state.window.from * 1000, zone.value)} – ${formatTime(state.window.to * 1000, zone.value)}`}
            title="Leave this window"
            onRemove={() => show({ ...state, window: null })}
          />
        )}
      </div>
      <div class="row wrap filters">
        {narrowed.map(([name, value]) => (
          <Chip
            key={name}
            label={`${TITLES[name]}: ${value}`}
            title={`Remove the filter ${TITLES[name]}`}
            onRemove={() => {
              const { [name]: _removed, ...filters } = state.filters;
              show({ ...state, filters });
            }}
          />
        ))}
        {state.labels.map((label) => (
          <Chip
            key={label}
            label={label}
            title={`Remove the filter ${label}`}
            onRemove={() => show({ ...state, labels: state.labels.filter((each) => each !== label) })}
          />
        ))}
        <FilterField state={state} data={data} />
        <ThresholdField state={state} />
        <button
          type="button"
          class="button quiet icon-only"
          aria-label="Look again"
          title={isAsking.value ? "Looking…" : "Look again; this happens every 30 seconds"}
          onClick={() => void ask()}
        >
          <Icon name="refresh" />
        </button>
      </div>
    </section>
  );
}

function Chip({ label, title, onRemove }: { label: string; title: string; onRemove: () => void }) {
  return (
    <button type="button" class="chip on removable" title={title} aria-label={`${label}: ${title}`} onClick={onRemove}>
      {label} <Icon name="close" />
    </button>
  );
}

/** A field that takes a filter such as host=db-1, query=cpu or preset=node-exporter. */
function FilterField({ state, data }: { state: IncidentsState; data: Found | null }) {
  const [text, setText] = useState("");
  const id = useId();
  const choices = filterChoices(data);
  const apply = (): void => {
    const found = /^([^=\s]+)\s*=\s*(.+)$/.exec(text.trim());
    if (found === null) return;
    const [, name, value] = found as unknown as [string, string, string];
    const filter = FILTERS.find((each) => each === name || TITLES[each].toLowerCase() === name);
    if (filter !== undefined) show({ ...state, filters: { ...state.filters, [filter]: value } });
    else if (!state.labels.includes(`${name}=${value}`)) {
      show({ ...state, labels: [...state.labels, `${name}=${value}`] });
    }
    setText("");
  };
  return (
    <form
      class="row filter-form"
      onSubmit={(event) => {
        event.preventDefault();
        apply();
      }}
    >
      <input
        class="input"
        list={id}
        placeholder="Filter, such as host=db-1"
        aria-label="Filter by label, query, model, scheduler or preset"
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <datalist id={id}>
        {choices.map((choice) => (
          <option key={choice} value={choice} />
        ))}
      </datalist>
      <button type="submit" class="button" disabled={!text.includes("=")}>
        Add
      </button>
    </form>
  );
}

const MOST_CHOICES = 200;

function filterChoices(data: Found | null): string[] {
  const choices = new Set<string>();
  for (const incident of data?.incidents ?? []) {
    for (const series of incident.series) {
      for (const name of FILTERS) if (series[name] !== "") choices.add(`${name}=${series[name]}`);
      for (const [name, value] of Object.entries(series.labels)) choices.add(`${name}=${value}`);
      if (choices.size > MOST_CHOICES) return [...choices];
    }
  }
  return [...choices];
}

function ThresholdField({ state }: { state: IncidentsState }) {
  const id = useId();
  // What is typed stays when an answer comes meanwhile.
  const [text, setText] = useState(String(state.threshold));
  useEffect(() => setText(String(state.threshold)), [state.threshold]);
  return (
    <label class="row threshold" for={id}>
      <span class="setting-name">Threshold</span>
      <input
        id={id}
        class="input"
        type="number"
        min="0"
        step="0.1"
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        onChange={(event) => {
          const threshold = event.currentTarget.valueAsNumber;
          if (threshold >= 0) show({ ...state, threshold });
          else setText(String(state.threshold));
        }}
      />
    </label>
  );
}

function Overview({ data, state }: { data: Found; state: IncidentsState }) {
  const ongoing = data.incidents.filter((incident) => incident.ongoing).length;
  const [from, to] = [data.start, data.end].map((at) => formatTime(at * 1000, zone.value));
  return (
    <section class="panel results" aria-label="Timeline">
      <dl class="summary" aria-live="polite">
        <div class={ongoing > 0 ? "is-ongoing" : ""}>
          <dt>Ongoing</dt>
          <dd>{formatNumber(ongoing)}</dd>
        </div>
        <div>
          <dt>In this range</dt>
          <dd>
            {formatNumber(data.n_incidents)} {data.n_incidents === 1 ? "incident" : "incidents"}
          </dd>
        </div>
        <div>
          <dt>Scored series</dt>
          <dd>{formatNumber(data.n_scored)}</dd>
        </div>
        <div>
          <dt>Scores from</dt>
          <dd class="source" title={data.source}>
            {data.source}
          </dd>
        </div>
      </dl>
      <Timeline
        data={data}
        onWindow={(window) => show({ ...state, window })}
        onReset={() => show({ ...state, window: null })}
      />
      <p class="hint timeline-note">
        {from} – {to}. Drag over the timeline to look at a part of it
        {state.window !== null && "; a double click leads back"}.
      </p>
    </section>
  );
}

function IncidentList({ data, state }: { data: Found; state: IncidentsState }) {
  if (data.incidents.length === 0) {
    const nothingScored = data.n_scored === 0;
    return (
      <section class="panel empty" aria-label="Incidents">
        <h2>{nothingScored ? "No scores" : "No incidents"}</h2>
        <p class="hint">
          {nothingScored
            ? `${data.source} holds no scores in this range. Check that the service writes there, and the filters.`
            : `No score was above ${state.threshold} in this range.`}
        </p>
        {nothingScored && state.window === null && state.since !== "30d" && (
          <button type="button" class="button" onClick={() => show({ ...state, since: "30d" })}>
            Look at the last 30 days
          </button>
        )}
      </section>
    );
  }
  const shown =
    state.order === "newest"
      ? data.incidents
      : [...data.incidents].sort((a, b) => severityOf(b) - severityOf(a));
  return (
    <section aria-label="Incidents" class="incident-list">
      <div class="row list-head">
        <div class="row" role="group" aria-label="Order">
          {ORDERS.map(([order, title]) => (
            <button
              key={order}
              type="button"
              class={`chip ${state.order === order ? "on" : ""}`}
              aria-pressed={state.order === order}
              onClick={() => show({ ...state, order })}
            >
              {title}
            </button>
          ))}
        </div>
        <div class="spacer" />
        <GrafanaField />
      </div>
      {shown.map((incident, index) => (
        <IncidentItem
          key={keyOf(incident)}
          incident={incident}
          data={data}
          isFirst={index === 0}
          onFilter={(label) => {
            if (!state.labels.includes(label)) show({ ...state, labels: [...state.labels, label] });
          }}
          onWindow={(window) => show({ ...state, window })}
        />
      ))}
      {data.n_incidents > data.incidents.length && (
        <p class="hint">
          The newest {formatNumber(data.incidents.length)} of {formatNumber(data.n_incidents)} incidents are
          shown; choose a shorter range for others.
        </p>
      )}
    </section>
  );
}

function keyOf({ start, series }: Incident): string {
  const first = series[0];
  return `${start} ${first?.query} ${JSON.stringify(first?.labels)}`;
}

/** Where links to Grafana lead; kept in this browser. */
function GrafanaField() {
  const [isOpen, setOpen] = useState(false);
  const [url, setUrl] = useState(preferences.value.grafanaUrl);
  const id = useId();
  return isOpen ? (
    <form
      class="row grafana-form"
      onSubmit={(event) => {
        event.preventDefault();
        prefer({ grafanaUrl: url.trim() });
        setOpen(false);
      }}
    >
      <label for={id}>Grafana</label>
      <input
        id={id}
        class="input"
        type="url"
        placeholder="https://grafana.example.org"
        value={url}
        onInput={(event) => setUrl(event.currentTarget.value)}
      />
      <button type="submit" class="button">
        Apply
      </button>
    </form>
  ) : (
    <button type="button" class="button quiet" onClick={() => setOpen(true)}>
      {preferences.value.grafanaUrl === "" ? "Link to Grafana…" : "Grafana…"}
    </button>
  );
}
