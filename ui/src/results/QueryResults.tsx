import { useMemo, useState } from "preact/hooks";
import { alignedTo, commonLabels, formatLabels, type Series, unionOfTimes, withGaps } from "../api/matrix";
import { formatNumber } from "../components/format";
import { Chart, type ChartData, type Spot } from "../plot/Chart";
import { colorOf, paint } from "../plot/palette";
import { queryState } from "../query/run";
import { resolvedRange, zone } from "../state/page";
import { SeriesTable } from "../table/SeriesTable";
import { statisticsOf } from "../table/statistics";
import { parseDuration } from "../time/duration";
import { formatTime } from "../time/zone";
import { Empty } from "./Empty";
import { resetZoom, zoomTo } from "./zoom";

/** More lines than these are neither told apart nor drawn fast. */
const MOST_DRAWN = 50;

/** What came of the query: all series in one plot, and the table of them. */
export function QueryResults() {
  const state = queryState.value;
  const [selected, setSelected] = useState<ReadonlySet<number>>(new Set());
  const series = state.status === "done" ? state.series : state.status === "loading" ? state.before : NONE;
  const names = useMemo(() => JSON.stringify(series.map(({ labels }) => labels)), [series]);
  useMemo(() => setSelected(new Set()), [names]);
  const table = useMemo(() => {
    return series.map((each, index) => ({
      color: colorOf(index),
      labels: each.labels,
      numbers: { ...statisticsOf(each.values) },
    }));
  }, [series]);

  const shown = useMemo(() => {
    const wanted = [...series.keys()].filter((index) => selected.size === 0 || selected.has(index));
    return wanted.slice(0, MOST_DRAWN);
  }, [series, selected]);
  const common = useMemo(() => commonLabels(shown.map((index) => series[index]!.labels)), [series, shown]);
  const step = state.status === "done" ? state.asked.step : "";
  const data = useMemo(() => chartData(series, shown, (parseDuration(step) ?? 0) / 1000), [series, shown]);

  if (state.status === "idle") return <Empty kind="start" />;
  if (state.status === "error") return <Empty kind="failed" />;
  const isLoading = state.status === "loading";
  if (isLoading && series.length === 0) return <div class="loading" role="status">Getting data…</div>;
  if (series.length === 0) return <Empty kind="nothing" asked={state.asked} />;

  const tooltip = ({ index, line }: Spot) => {
    const near = shown.find((each) => String(each) === line);
    const rows = near === undefined ? shown.slice(0, 8) : [near];
    return (
      <>
        <div class="tooltip-time">{formatTime((data.times[index] ?? 0) * 1000, zone.value)}</div>
        {rows.map((each) => {
          const values = data.lines.find(({ id }) => id === String(each))?.values;
          return (
            <div key={each} class="tooltip-row">
              <span class="dot" style={{ background: colorOf(each) }} />
              <strong>{formatNumber(values?.[index])}</strong>
              <span class="labels">{formatLabels(series[each]!.labels, common)}</span>
            </div>
          );
        })}
        {near === undefined && shown.length > rows.length && (
          <div class="hint">and {shown.length - rows.length} more; point at a line for its value</div>
        )}
      </>
    );
  };

  const select = (index: number, isAdding: boolean): void => {
    const next = new Set(isAdding ? selected : []);
    if (selected.has(index) && (isAdding || selected.size === 1)) next.delete(index);
    else next.add(index);
    setSelected(next);
  };

  return (
    <section class={`panel results ${isLoading ? "waiting" : ""}`} aria-label="Results" aria-busy={isLoading}>
      {isLoading && (
        <div class="waiting-note" role="status">
          Getting data…
        </div>
      )}
      <Chart
        data={data}
        range={resolvedRange.value}
        label={`Plot of ${shown.length} series; the table below has their statistics`}
        tooltip={tooltip}
        onRange={zoomTo}
        onReset={resetZoom}
      />
      {selected.size === 0 && series.length > MOST_DRAWN && (
        <p class="hint">
          The plot shows {MOST_DRAWN} of {formatNumber(series.length)} series. Select rows of the table to see others.
        </p>
      )}
      <SeriesTable
        caption={`Series of the query, ${series.length}`}
        series={table}
        counts={[]}
        statistics={["min", "median", "max"]}
        isSelected={(index) => selected.has(index)}
        onSelect={select}
      />
    </section>
  );
}

/** Among more lines one is hard to follow. */
const MOST_CLEAR = 8;
const NONE: readonly Series[] = [];

function chartData(series: readonly Series[], shown: readonly number[], step: number): ChartData {
  const times = withGaps(unionOfTimes(shown.map((index) => series[index]!.times)), step);
  return {
    times,
    bands: [],
    fadesOthers: shown.length > MOST_CLEAR,
    lines: shown.map((index) => ({
      id: String(index),
      title: formatLabels(series[index]!.labels),
      color: (palette) => paint(palette, index),
      values: alignedTo(times, series[index]!),
      isShown: true,
    })),
  };
}
