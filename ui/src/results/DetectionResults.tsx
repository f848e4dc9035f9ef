import { computed } from "@preact/signals";
import { useMemo, useState } from "preact/hooks";
import { formatLabels, type Series } from "../api/matrix";
import { formatNumber, formatShare } from "../components/format";
import { Notice } from "../components/Notice";
import { type Detected, detected, isOutOfDate, runState } from "../detection/run";
import type { DetectedSeries } from "../detection/result";
import { type Anomalies, countAnomalies, summarize } from "../detection/streaks";
import { Chart, type Spot } from "../plot/Chart";
import { colorOf } from "../plot/palette";
import { queryState } from "../query/run";
import { detect } from "../state/actions";
import { page, resolvedRange, zone } from "../state/page";
import { SeriesTable } from "../table/SeriesTable";
import { statisticsOf } from "../table/statistics";
import { parseDuration } from "../time/duration";
import type { AbsoluteRange } from "../time/range";
import { formatTime } from "../time/zone";
import { detectionChart, type Layer, LAYERS, type Wanted } from "./detectionChart";
import { Empty } from "./Empty";
import { valuesAround } from "./raw";
import { resetZoom, zoomTo } from "./zoom";

const TITLES: Readonly<Record<Layer, string>> = {
  y: "y",
  yhat: "yhat",
  band: "yhat_upper – yhat_lower",
  anomalies: "anomalies",
  anomaly_score: "anomaly_score",
  forecasts: "forecasts",
  boundaries: "direction, min deviation",
};
/** As many small plots can be compared at a glance. */
const MOST_SMALL = 6;
const SMALL_PX = 210;
const OFF_AT_FIRST: ReadonlySet<Layer> = new Set(["anomaly_score", "boundaries"]);

/** What came of the detection: one series, or a few small ones, and the table of all. */
export function DetectionResults() {
  const state = runState.value;
  const result = detected.value;
  if (state.status === "running") {
    return (
      <div class="loading" role="status">
        {state.message}… {state.progress}%
      </div>
    );
  }
  if (result === null) return <Empty kind="detect" />;
  if (result.series.length === 0) return <Empty kind="nothing" asked={result.asked} />;
  return <Detection result={result} />;
}

function Detection({ result }: { result: Detected }) {
  const { threshold, consecutive, businessBoundaries, model } = page.value;
  const { series } = result;
  const anomalies = useMemo(
    () => series.map(({ scores }) => countAnomalies(scores, threshold, consecutive)),
    [series, threshold, consecutive],
  );
  const [chosen, setChosen] = useState<{ of: Detected; indexes: readonly number[] } | null>(null);
  const selected = chosen?.of === result ? chosen.indexes : [indexOfWorst(anomalies)];
  const [layers, setLayers] = useState<ReadonlySet<Layer>>(
    () => new Set(LAYERS.filter((layer) => !OFF_AT_FIRST.has(layer))),
  );
  const shown = useMemo(() => {
    const all = new Set(layers);
    if (businessBoundaries) all.add("boundaries");
    return all;
  }, [layers, businessBoundaries]);

  const current = series[selected[0]!]!;
  const step = (parseDuration(result.asked.step) ?? 0) / 1000;
  const wanted = useMemo(() => ({ layers: shown, consecutive, spec: model, step }), [shown, consecutive, model, step]);
  const table = useMemo(
    () =>
      series.map((each, index) => {
        const { points, scored, streaks } = anomalies[index]!;
        return {
          color: colorOf(index),
          labels: each.labels,
          numbers: { anomalies: points, streaks: streaks.length, ...statisticsOf(each.y) },
          texts: { anomalies: formatShare(points, scored) },
        };
      }),
    [series, anomalies],
  );
  const forecastsEnd = Math.max(...current.forecasts.map(({ times }) => times.at(-1) ?? 0), 0) * 1000;
  const range = visibleRange(result, shown.has("forecasts") ? forecastsEnd : 0);

  const select = (index: number, isAdding: boolean): void => {
    const others = selected.filter((each) => each !== index);
    const isRemoving = isAdding && others.length < selected.length && others.length > 0;
    const indexes = isRemoving ? others : isAdding ? [...others, index].slice(-MOST_SMALL) : [index];
    setChosen({ of: result, indexes });
  };
  const toggle = (layer: Layer): void => {
    const next = new Set(layers);
    if (!next.delete(layer)) next.add(layer);
    setLayers(next);
  };
  const isThere = (layer: Layer): boolean =>
    layer === "forecasts"
      ? current.forecasts.length > 0
      : layer !== "boundaries" || hasBoundaries(model) || shown.has(layer);

  return (
    <section class="panel results" aria-label="Results">
      {isOutOfDate.value && (
        <Notice
          kind="warning"
          title="This result is out of date"
          actions={
            <button type="button" class="button" onClick={detect}>
              Run again
            </button>
          }
        >
          The query, the time range, the model or its schedule has changed since.
        </Notice>
      )}
      <div class="row wrap results-head">
        <div class="legend" role="group" aria-label="What the plot shows">
          {LAYERS.filter(isThere).map((layer) => (
            <button
              key={layer}
              type="button"
              class={`legend-item layer-${layer}`}
              aria-pressed={shown.has(layer)}
              onClick={() => toggle(layer)}
            >
              <span class="mark" aria-hidden="true" />
              {TITLES[layer]}
            </button>
          ))}
        </div>
        <div class="spacer" />
        {selected.length === 1 && <SeriesName series={current} />}
      </div>
      {selected.length === 1 ? (
        <SeriesChart series={current} anomalies={anomalies[selected[0]!]!} wanted={wanted} range={range} />
      ) : (
        <div class="small-charts">
          {selected.map((index) => (
            <figure key={index}>
              <figcaption>
                <SeriesName series={series[index]!} />
              </figcaption>
              <SeriesChart
                series={series[index]!}
                anomalies={anomalies[index]!}
                wanted={wanted}
                range={range}
                isSmall
              />
            </figure>
          ))}
        </div>
      )}
      {anomalies.every(({ scored }) => scored === 0) && (
        <Notice kind="warning" title="No point has a score">
          The model learns from the {result.asked.fitWindow} before each fit, and there were too few values. Choose
          a later or a longer time range, or another fit window.
        </Notice>
      )}
      <SummaryRow anomalies={anomalies} consecutive={consecutive} />
      <SeriesTable
        caption={`Series of the detection, ${series.length}`}
        series={table}
        counts={["anomalies", "streaks"]}
        statistics={["min", "median", "max"]}
        isSelected={(index) => selected.includes(index)}
        onSelect={select}
      />
    </section>
  );
}

function SeriesName({ series }: { series: DetectedSeries }) {
  const name = formatLabels(series.labels);
  return (
    <span class="series-name" title={name}>
      {name}
    </span>
  );
}

function SeriesChart(props: {
  series: DetectedSeries;
  anomalies: Anomalies;
  wanted: Wanted;
  range: AbsoluteRange;
  isSmall?: boolean;
}) {
  const { series, anomalies, wanted, range, isSmall = false } = props;
  const found = foundSince.value;
  const data = useMemo(
    () => detectionChart(series, anomalies, wanted, valuesAround(series, found)),
    [series, anomalies, wanted, found],
  );
  const name = formatLabels(series.labels);
  return (
    <Chart
      data={data}
      range={range}
      label={`Plot of ${name}; the table below has the counts of all series`}
      {...(isSmall ? { fixedHeight: SMALL_PX } : {})}
      tooltip={(spot) => (
        <DetectionTooltip spot={spot} data={data.times} lines={data.lines} labels={name} />
      )}
      onRange={zoomTo}
      onReset={resetZoom}
    />
  );
}

const NOTHING: readonly Series[] = [];

/** The series of the query of the result at another time range, which was chosen since. */
const foundSince = computed<readonly Series[]>(() => {
  const [result, state] = [detected.value, queryState.value];
  if (result === null || state.status !== "done" || !isOutOfDate.value) return NOTHING;
  const { asked } = result;
  const { from, to } = resolvedRange.value;
  const isOfPage = state.asked.range.from === from && state.asked.range.to === to;
  // A run may start before the service has said what its datasource is.
  const isSameDatasource = (asked.datasource || state.asked.datasource) === state.asked.datasource;
  return isOfPage && state.asked.expr === asked.expr && isSameDatasource ? state.series : NOTHING;
});

function indexOfWorst(anomalies: readonly Anomalies[]): number {
  let worst = 0;
  anomalies.forEach(({ points }, index) => {
    if (points > anomalies[worst]!.points) worst = index;
  });
  return worst;
}

function hasBoundaries(spec: Readonly<Record<string, unknown>>): boolean {
  return "min_dev_from_expected" in spec || "min_rel_dev_from_expected" in spec;
}

/** Return the range of the result with its forecasts or, after a zoom, that of the page. */
function visibleRange(result: Detected, forecastsEnd: number): AbsoluteRange {
  const { from, to } = resolvedRange.value;
  const { range } = result.asked;
  const isWhole = !isOutOfDate.value || (from === range.from && to === range.to);
  return isWhole ? { from: range.from, to: Math.max(range.to, forecastsEnd) } : { from, to };
}

function SummaryRow({ anomalies, consecutive }: { anomalies: readonly Anomalies[]; consecutive: number }) {
  const { series, points, streaks } = summarize(anomalies);
  const items = [
    ["Anomalous series", formatShare(...series)],
    ["Anomalous points", formatShare(...points)],
    [consecutive > 1 ? `Streaks of ${consecutive} or more` : "Streaks", formatShare(...streaks)],
  ] as const;
  return (
    <dl class="summary" aria-label="Detection summary">
      {items.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function DetectionTooltip(props: {
  spot: Spot;
  data: readonly number[];
  lines: ReturnType<typeof detectionChart>["lines"];
  labels: string;
}) {
  const { spot, data, lines, labels } = props;
  const rows = lines.filter(
    ({ id, values }) => id !== "anomalies" && (values[spot.index] ?? null) !== null,
  );
  const isAnomaly = lines.some(({ id, values }) => id === "anomalies" && (values[spot.index] ?? null) !== null);
  const order = ["y", "yhat", "yhat_upper", "yhat_lower", "anomaly_score"];
  const rank = (id: string): number => (order.indexOf(id) + 1 || order.length + 1);
  rows.sort((left, right) => rank(left.id) - rank(right.id));
  return (
    <>
      <div class="tooltip-time">
        {formatTime((data[spot.index] ?? 0) * 1000, zone.value)}
        {isAnomaly && <span class="badge anomaly">anomaly</span>}
      </div>
      {rows.map(({ id, title, values }) => (
        <div key={id} class="tooltip-row">
          <span class="tooltip-name">{title}</span>
          <strong>{formatNumber(values[spot.index])}</strong>
        </div>
      ))}
      <div class="labels">{labels}</div>
    </>
  );
}
