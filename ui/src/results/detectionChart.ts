/** What the plot of a detection draws. */

import { alignedTo, type Series, unionOfTimes, withGaps } from "../api/matrix";
import type { DetectedSeries, Values } from "../detection/result";
import type { Anomalies } from "../detection/streaks";
import type { ModelSpec } from "../model/spec";
import type { Band, ChartData, Line } from "../plot/Chart";
import { boundariesOf } from "./boundaries";

/** What the legend can switch. */
export const LAYERS = ["y", "yhat", "band", "anomalies", "anomaly_score", "forecasts", "boundaries"] as const;
export type Layer = (typeof LAYERS)[number];

export interface Wanted {
  readonly layers: ReadonlySet<Layer>;
  readonly consecutive: number;
  readonly spec: ModelSpec;
  /** Of the query, in seconds. */
  readonly step: number;
}

/** Return what to draw; `around` has values of the series at other times than those of the detection. */
export function detectionChart(
  series: DetectedSeries,
  anomalies: Anomalies,
  wanted: Wanted,
  around: Pick<Series, "times" | "values"> = { times: [], values: [] },
): ChartData {
  const { layers, consecutive, spec, step } = wanted;
  const known = unionOfTimes([series.times, around.times, ...series.forecasts.map((each) => each.times)]);
  const times = withGaps(known, step);
  const aligned = (values: Values): Values =>
    times.length === series.times.length ? values : alignedTo(times, { times: series.times, values });
  const others = around.times.length === 0 ? [] : alignedTo(times, around);
  const lines: Line[] = [];
  const bands: Band[] = [];

  const isBandShown = layers.has("band");
  lines.push(
    edge("yhat_upper", aligned(series.upper), isBandShown),
    edge("yhat_lower", aligned(series.lower), isBandShown),
  );
  if (isBandShown) bands.push({ upper: "yhat_upper", lower: "yhat_lower", fill: ({ band }) => band });
  if (layers.has("forecasts")) addForecasts(series, times, lines, bands);
  if (layers.has("boundaries")) {
    const { lower, upper } = boundariesOf(spec, series.yhat);
    for (const [id, values] of [["lower", lower], ["upper", upper]] as const) {
      lines.push({
        id: `boundary_${id}`,
        title: `min deviation, ${id}`,
        color: ({ boundary }) => boundary,
        values: aligned(values),
        isShown: true,
        width: 1,
        dash: [2, 4],
      });
    }
  }
  lines.push(
    {
      id: "yhat",
      title: "yhat",
      color: ({ expected }) => expected,
      values: aligned(series.yhat),
      isShown: layers.has("yhat"),
      width: 1.25,
      dash: [6, 4],
    },
    {
      id: "y",
      title: "y",
      color: ({ actual }) => actual,
      values: aligned(series.y).map((value, index) => value ?? others[index] ?? null),
      isShown: layers.has("y"),
      width: 1.5,
    },
    {
      id: "anomaly_score",
      title: "anomaly_score",
      color: ({ score }) => score,
      values: aligned(series.scores),
      isShown: layers.has("anomaly_score"),
      scale: "score",
      width: 1.25,
    },
    {
      id: "anomalies",
      title: "anomalies",
      color: ({ anomaly }) => anomaly,
      values: aligned(anomalousValues(series, anomalies)),
      isShown: layers.has("anomalies"),
      width: 3,
      hasMarkers: true,
      // Streaks are drawn as lines, single anomalies as points only.
      hasNoLine: consecutive < 2,
    },
  );
  return { times, lines, bands, fadesOthers: false };
}

function edge(id: string, values: Values, isShown: boolean): Line {
  return { id, title: id, color: ({ band }) => band, values, isShown, width: 1 };
}

function addForecasts(series: DetectedSeries, times: readonly number[], lines: Line[], bands: Band[]): void {
  for (const { offset, side, times: at, values } of series.forecasts) {
    lines.push({
      id: `${side}_${offset}`,
      title: `${side} ${offset} ahead`,
      color: (palette) => (side === "yhat" ? palette.forecast : palette.forecastBand),
      values: alignedTo(times, { times: at, values }),
      isShown: true,
      width: side === "yhat" ? 1.5 : 1,
      ...(side === "yhat" ? { dash: [2, 3] } : {}),
    });
  }
  const names = new Set(series.forecasts.map(({ side, offset }) => `${side}_${offset}`));
  for (const offset of new Set(series.forecasts.map((each) => each.offset))) {
    const [upper, lower] = [`yhat_upper_${offset}`, `yhat_lower_${offset}`];
    if (names.has(upper) && names.has(lower)) {
      bands.push({ upper, lower, fill: ({ forecastBand }) => forecastBand });
    }
  }
}

/** Return the values at anomalies; where a series has none, such as a joint score, the expected. */
function anomalousValues(series: DetectedSeries, { streaks }: Anomalies): Values {
  const values: (number | null)[] = series.times.map(() => null);
  for (const { first, last } of streaks) {
    for (let index = first; index <= last; index += 1) {
      values[index] = series.y[index] ?? series.yhat[index] ?? null;
    }
  }
  return values;
}
