import { expect, it } from "vitest";
import type { DetectedSeries } from "../detection/result";
import { countAnomalies } from "../detection/streaks";
import { detectionChart, LAYERS } from "./detectionChart";
import { valuesAround } from "./raw";

const detected: DetectedSeries = {
  labels: { host: "a" },
  times: [120, 180],
  y: [2, null],
  yhat: [2, 3],
  lower: [1, 2],
  upper: [3, 4],
  scores: [0, 5],
  forecasts: [],
};
const found = [
  { labels: { __name__: "up", host: "b" }, times: [60], values: [7] },
  { labels: { __name__: "up", host: "a" }, times: [60, 120, 180, 240], values: [1, 9, 9, null] },
];

it("takes what is around the detection, of the same series", () => {
  expect(valuesAround(detected, found)).toEqual({ times: [60, 240], values: [1, null] });
  expect(valuesAround({ ...detected, labels: { host: "c" } }, found)).toEqual({ times: [], values: [] });
  expect(valuesAround({ ...detected, times: [] }, found).times).toEqual([60, 120, 180, 240]);
});

it("draws it without moving anything of the detection", () => {
  const wanted = { layers: new Set(LAYERS), consecutive: 1, spec: { class: "std" }, step: 60 };
  const anomalies = countAnomalies(detected.scores, 1, 1);
  const { times, lines } = detectionChart(detected, anomalies, wanted, valuesAround(detected, found));
  const values = (name: string) => lines.find(({ id }) => id === name)!.values;
  expect(times).toEqual([60, 120, 180, 240]);
  expect(values("y")).toEqual([1, 2, null, null]);
  expect(values("yhat")).toEqual([null, 2, 3, null]);
  expect(values("anomalies")).toEqual([null, null, 3, null]);
});

it("leaves gaps where the detection has no points", () => {
  const wanted = { layers: new Set(LAYERS), consecutive: 1, spec: { class: "std" }, step: 30 };
  const { times, lines } = detectionChart(detected, countAnomalies(detected.scores, 1, 1), wanted);
  expect(times).toEqual([120, 150, 180]);
  expect(lines.find(({ id }) => id === "yhat")!.values).toEqual([2, null, 3]);
});
