import { useId, useState } from "preact/hooks";
import { visible } from "../api/matrix";
import { Icon } from "../components/Icon";
import { formatNumber } from "../components/format";
import { zone } from "../state/page";
import { preferences } from "../state/preferences";
import { datasourceUrl, serverModels, serverQueries } from "../state/server";
import { joinFragment, writeState } from "../state/url";
import { formatTime } from "../time/zone";
import type { Incident, Incidents, IncidentSeries } from "./api";
import { explorationOf, grafanaLink, type Window, windowAround } from "./links";
import { SeriesPlot } from "./SeriesPlot";
import { distinctive, labelText, lasting, severityOf, severityWord, titleOf } from "./words";

interface Props {
  incident: Incident;
  data: Incidents;
  isFirst: boolean;
  onFilter: (label: string) => void;
  onWindow: (window: Window) => void;
}

const SHOWN_AT_FIRST = 8;
const SHOWN_MORE = 24;

/** One incident: what it is about in a line, and its series when it is opened. */
export function IncidentItem({ incident, data, isFirst, onFilter, onWindow }: Props) {
  const [isOpen, setOpen] = useState(isFirst);
  const [nShown, setShown] = useState(SHOWN_AT_FIRST);
  const id = useId();
  const severity = severityOf(incident);
  const word = severityWord(severity);
  const window = windowAround(incident, data.step);
  const series = incident.series.slice(0, nShown);
  return (
    <article class={`panel incident ${isOpen ? "open" : ""}`} aria-labelledby={`${id}-title`}>
      <header class="incident-head">
        <button
          type="button"
          class={`fold ${isOpen ? "open" : ""}`}
          aria-expanded={isOpen}
          aria-controls={id}
          onClick={() => setOpen(!isOpen)}
        >
          <Icon name="chevron" />
          <span class={`severity severity-${word}`} title={`Severity ${severity.toFixed(1)} of 10`}>
            {word}
          </span>
          <strong id={`${id}-title`}>{titleOf(incident)}</strong>
        </button>
        {incident.ongoing && <span class="badge anomaly">ongoing</span>}
        <span class="incident-labels">
          {Object.entries(incident.labels).map(([name, value]) => (
            <button
              key={name}
              type="button"
              class="label-chip"
              title={`Only series with ${name}=${visible(value)}`}
              onClick={() => onFilter(`${name}=${value}`)}
            >
              {name}={visible(value)}
            </button>
          ))}
        </span>
        <span class="incident-facts">
          <span>{formatTime(incident.start * 1000, zone.value)}</span>
          <span>{lasting(Math.max(incident.end - incident.start, data.step))}</span>
          <span>{incident.n_series === 1 ? "1 series" : `${formatNumber(incident.n_series)} series`}</span>
          <span>peak {formatNumber(Number(incident.peak.toPrecision(3)))}</span>
        </span>
        <button
          type="button"
          class="button quiet icon-only"
          aria-label={`Zoom to ${titleOf(incident)}`}
          title="Zoom to this incident"
          onClick={() => onWindow({ from: Math.floor(window.from), to: Math.ceil(window.to) })}
        >
          <Icon name="zoom" />
        </button>
      </header>
      {isOpen && (
        <div id={id} class="incident-body">
          {series.map((each) => (
            <SeriesRow
              key={JSON.stringify([each.query, each.model_alias, each.scheduler_alias, each.labels, each.start])}
              series={each}
              incident={incident}
              data={data}
              window={window}
            />
          ))}
          {incident.series.length > nShown && (
            <button type="button" class="button" onClick={() => setShown(nShown + SHOWN_MORE)}>
              Show {Math.min(SHOWN_MORE, incident.series.length - nShown)} more of{" "}
              {formatNumber(incident.series.length)}
            </button>
          )}
        </div>
      )}
    </article>
  );
}

function SeriesRow(props: { series: IncidentSeries; incident: Incident; data: Incidents; window: Window }) {
  const { series, incident, data, window } = props;
  const own = labelText(distinctive(series.labels, incident.labels));
  const name = [series.query, own].filter((part) => part !== "").join(" ") || labelText(series.labels);
  // A query of a DuckDB file cannot be tried on this page.
  const expr = datasourceUrl.value === "" ? undefined : serverQueries.value[series.query];
  const spec = serverModels.value[series.model_alias]?.model_configuration;
  return (
    <div class="incident-series">
      <div class="incident-series-head">
        <span class="severity-bar" title={`Severity ${series.severity.toFixed(1)} of 10`}>
          <span
            class={`severity-${severityWord(series.severity)}`}
            style={{ width: `${Math.max(4, 10 * series.severity)}%` }}
          />
        </span>
        <span class="series-name" title={labelText(series.labels)}>
          {name}
        </span>
        <span class="hint incident-series-facts">
          {series.model_alias}
          {series.scheduler_alias !== "" && ` · ${series.scheduler_alias}`} · peak{" "}
          {formatNumber(Number(series.peak.toPrecision(3)))} ·{" "}
          {lasting(Math.max(series.end - series.start, data.step))}
        </span>
        <span class="spacer" />
        {expr !== undefined && (
          <a class="link" href={joinFragment("", writeState(explorationOf(window, expr, spec)))}>
            Try the model
          </a>
        )}
        {preferences.value.grafanaUrl !== "" && (
          <a
            class="link"
            href={grafanaLink(preferences.value.grafanaUrl, series, window)}
            target="_blank"
            rel="noreferrer noopener"
          >
            Grafana
          </a>
        )}
      </div>
      <SeriesPlot series={series} window={window} threshold={data.threshold} name={name} />
    </div>
  );
}
