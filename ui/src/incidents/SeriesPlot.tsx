import { useEffect, useRef, useState } from "preact/hooks";
import { isAbort, messageOf } from "../api/client";
import { formatNumber, formatShort } from "../components/format";
import { zone } from "../state/page";
import { formatTime } from "../time/zone";
import { getOutputs, type IncidentSeries, type Outputs } from "./api";
import type { Window } from "./links";
import { fieldsOfScores } from "./run";
import { reasonOf } from "./reason";
import { smallPlot } from "./smallPlot";
import { meaningOf } from "./words";

interface Props {
  series: IncidentSeries;
  window: Window;
  threshold: number;
  name: string;
}

const WIDTH = 1000;
const HEIGHT = 84;

/** The values of a series around an incident, with what was expected; read when it comes into view. */
export function SeriesPlot({ series, window, threshold, name }: Props) {
  const root = useRef<HTMLDivElement>(null);
  const [outputs, setOutputs] = useState<Outputs | null>(null);
  const [error, setError] = useState("");
  const [index, setIndex] = useState<number | null>(null);

  useEffect(() => {
    const asking = new AbortController();
    const observer = new IntersectionObserver(([entry]) => {
      if (!entry?.isIntersecting) return;
      observer.disconnect();
      getOutputs(fieldsOfScores(), series, window, { signal: asking.signal }).then(setOutputs, (problem: unknown) => {
        if (!isAbort(problem)) setError(messageOf(problem));
      });
    });
    if (root.current !== null) observer.observe(root.current);
    return () => {
      observer.disconnect();
      asking.abort();
    };
  }, [JSON.stringify(series.labels), series.query, series.model_alias, window.from, window.to]);

  const plot = outputs === null ? null : smallPlot(outputs, threshold, WIDTH, HEIGHT);
  const times = outputs?.timestamps ?? [];
  const deviation = outputs?.deviation ?? "";
  const [first, last] = [times[0] ?? 0, times[times.length - 1] ?? 1];
  const share = (at: number): number => (at - first) / (last - first || 1);
  const at = index === null ? undefined : times[index];
  const meaning = meaningOf(deviation);
  const reason = outputs === null ? "" : reasonOf(outputs, series.start, series.end);
  return (
    <div ref={root} class="series-plot">
      {error !== "" && <p class="hint">{error}</p>}
      {plot !== null && (
        <div
          class="plot-box"
          onPointerMove={(event) => {
            const box = event.currentTarget.getBoundingClientRect();
            const part = (event.clientX - box.left) / box.width;
            setIndex(
              times.length === 0 ? null : Math.min(times.length - 1, Math.max(0, Math.round(part * (times.length - 1)))),
            );
          }}
          onPointerLeave={() => setIndex(null)}
        >
          <svg
            viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
            preserveAspectRatio="none"
            role="img"
            aria-label={`${name}: ${deviation === "" ? "" : `${deviation}, `}from ${formatNumber(plot.low)} to ${formatNumber(plot.high)}`}
          >
            <rect
              class="plot-incident"
              x={WIDTH * share(series.start)}
              width={Math.max(2, WIDTH * (share(series.end) - share(series.start)))}
              y="0"
              height={HEIGHT}
            />
            <path class="plot-band" d={plot.band} />
            <path class="plot-expected" d={plot.expected} />
            <path class="plot-y" d={plot.y} />
            <path class="plot-anomalies" d={plot.anomalies} />
            {at !== undefined && (
              <line class="plot-cursor" x1={WIDTH * share(at)} x2={WIDTH * share(at)} y1="0" y2={HEIGHT} />
            )}
          </svg>
          <span class="plot-high" aria-hidden="true">
            {short(plot.high)}
          </span>
          <span class="plot-low" aria-hidden="true">
            {short(plot.low)}
          </span>
          {times.length > 1 && (
            <p class="plot-times">
              <span>{formatTime(first * 1000, zone.value)}</span>
              <span>{formatTime(last * 1000, zone.value)}</span>
            </p>
          )}
        </div>
      )}
      {plot === null && error === "" && <p class="hint">Reading…</p>}
      {at !== undefined && outputs !== null && index !== null ? (
        <p class="plot-values" aria-hidden="true">
          {valuesAt(outputs, index, at)}
        </p>
      ) : (
        <p class="plot-values">
          {deviation !== "" && <strong>{deviation}</strong>}
          {meaning !== "" && `: ${meaning}. `}
          {reason || (deviation === "" ? " " : "")}
        </p>
      )}
    </div>
  );
}

const SHOWN = [
  "y",
  "yhat",
  "yhat_lower",
  "yhat_upper",
  "anomaly_score",
  "flatline_score",
  "drift_score",
  "drift",
  "incident_score",
];

function short(value: number): string {
  return formatShort(Number(value.toPrecision(4)));
}

function rounded(value: number): string {
  return formatNumber(Number(value.toPrecision(4)));
}

function valuesAt({ outputs }: Outputs, index: number, at: number): string {
  const values = SHOWN.flatMap((name) => {
    const value = outputs[name]?.[index];
    return value === undefined || value === null ? [] : [`${name} ${rounded(value)}`];
  });
  return [formatTime(at * 1000, zone.value), ...values].join(" · ");
}
