import { expect, it } from "vitest";
import { detectionCsv, seriesCsv } from "./plotData";

const series = {
  labels: { __name__: "up", host: "a,b" },
  times: [0, 60],
  y: [1, 2],
  yhat: [null, 1.5],
  lower: [null, null],
  upper: [null, null],
  scores: [0, 3],
  forecasts: [{ offset: "1m", side: "yhat" as const, madeAt: [60], times: [120], values: [4] }],
};

it("writes every output of every series", () => {
  const name = '"up{host=""a,b""}"';
  const at = (minute: number): string => `1970-01-01T00:0${minute}:00.000Z`;
  expect(detectionCsv([series]).split("\n")).toEqual([
    "series,output,time,for,value",
    `${name},y,${at(0)},${at(0)},1`,
    `${name},y,${at(1)},${at(1)},2`,
    `${name},yhat,${at(1)},${at(1)},1.5`,
    `${name},anomaly_score,${at(0)},${at(0)},0`,
    `${name},anomaly_score,${at(1)},${at(1)},3`,
    `${name},yhat_1m,${at(1)},${at(2)},4`,
    "",
  ]);
});

it("writes the series of a query", () => {
  const raw = { labels: { __name__: "up" }, times: [0, 60], values: [1, null] };
  expect(seriesCsv([raw])).toBe("series,time,value\nup,1970-01-01T00:00:00.000Z,1\n");
});
