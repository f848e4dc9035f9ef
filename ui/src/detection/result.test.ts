import { describe, expect, it } from "vitest";
import type { Matrix } from "../api/matrix";
import { readDetection } from "./result";

function matrix(...series: [string, Record<string, string>, [number, string][]][]): Matrix {
  return {
    resultType: "matrix",
    result: series.map(([name, labels, values]) => ({
      metric: { __name__: name, for: "query", ...labels },
      values,
    })),
  };
}

describe("readDetection", () => {
  it("gathers the outputs of each series", () => {
    const [first, second, ...others] = readDetection(
      matrix(
        ["y", { host: "a" }, [[60, "1"], [120, "2"]]],
        ["yhat", { host: "a" }, [[120, "1.5"]]],
        ["anomaly_score", { host: "a" }, [[60, "0"], [120, "3"]]],
        ["y", { host: "b" }, [[60, "7"]]],
      ),
    );
    expect(others).toEqual([]);
    expect(first).toEqual({
      labels: { host: "a" },
      times: [60, 120],
      y: [1, 2],
      yhat: [null, 1.5],
      lower: [null, null],
      upper: [null, null],
      scores: [0, 3],
      forecasts: [],
    });
    expect(second!.labels).toEqual({ host: "b" });
  });
  it("puts forecasts where they are for", () => {
    const [series] = readDetection(matrix(["yhat_1h", {}, [[60, "4"]]], ["yhat_upper_1d", {}, [[60, "5"]]]));
    expect(series!.forecasts).toEqual([
      { offset: "1h", side: "yhat", madeAt: [60], times: [3660], values: [4] },
      { offset: "1d", side: "yhat_upper", madeAt: [60], times: [86_460], values: [5] },
    ]);
    expect(series!.times).toEqual([]);
  });
  it("gives the joint score of a group to its series", () => {
    const all = readDetection(
      matrix(
        ["y", { host: "a", mode: "idle" }, [[60, "1"]]],
        ["y", { host: "b", mode: "idle" }, [[60, "1"]]],
        ["anomaly_score", { host: "a" }, [[60, "2"]]],
      ),
    );
    expect(all.map(({ scores }) => scores)).toEqual([[2], [null]]);
  });
  it("has nothing to gather in nothing", () => expect(readDetection(matrix())).toEqual([]));
});
