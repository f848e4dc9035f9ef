/** All outputs of all series, as files. */

import { formatLabels, type Series } from "../api/matrix";
import type { DetectedSeries } from "../detection/result";

interface Column {
  readonly name: string;
  readonly values: readonly (number | null)[];
}

function columnsOf(series: DetectedSeries): Column[] {
  return [
    { name: "y", values: series.y },
    { name: "yhat", values: series.yhat },
    { name: "yhat_lower", values: series.lower },
    { name: "yhat_upper", values: series.upper },
    { name: "anomaly_score", values: series.scores },
  ];
}

const TIME = (seconds: number): string => new Date(seconds * 1000).toISOString();

function csvCell(value: string): string {
  return /[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}

const HEADER = "series,output,time,for,value";

/** Write one line per value: its series, output, time, the time that it is for, and itself. */
export function detectionCsv(all: readonly DetectedSeries[]): string {
  const lines = [HEADER];
  for (const series of all) {
    const name = csvCell(formatLabels(series.labels));
    const add = (output: string, time: number, at: number, value: number | null): void => {
      if (value !== null) lines.push(`${name},${output},${TIME(time)},${TIME(at)},${value}`);
    };
    for (const { name: output, values } of columnsOf(series)) {
      series.times.forEach((time, index) => add(output, time, time, values[index] ?? null));
    }
    for (const { side, offset, madeAt, times, values } of series.forecasts) {
      times.forEach((at, index) => add(`${side}_${offset}`, madeAt[index]!, at, values[index] ?? null));
    }
  }
  return `${lines.join("\n")}\n`;
}

export function seriesCsv(all: readonly Series[]): string {
  const lines = ["series,time,value"];
  for (const series of all) {
    const name = csvCell(formatLabels(series.labels));
    series.times.forEach((time, index) => {
      const value = series.values[index] ?? null;
      if (value !== null) lines.push(`${name},${TIME(time)},${value}`);
    });
  }
  return `${lines.join("\n")}\n`;
}

export function detectionJson(asked: object, all: readonly DetectedSeries[]): string {
  return `${JSON.stringify({ asked, series: all }, null, 1)}\n`;
}
