import { describe, expect, it } from "vitest";
import { DEFAULT_STATE, type PageState, readState, splitFragment, withoutLogin, writeState } from "./url";

const NOW = Date.UTC(2026, 0, 2, 3, 4, 5, 678);

/** An address as the reference writes them, with its model encoded twice. */
const MODEL = {
  modelType: "rolling_quantile",
  settings: { quantile: 0.9, window_steps: 96 },
  modelSpec: {
    class_name: "model.rolling_quantile.RollingQuantileModel",
    class: "rolling_quantile",
    quantile: 0.9,
    window_steps: 96,
    detection_direction: "above_expected",
  },
  isValidated: true,
};
const REFERENCE =
  "#/?g0.expr=sum(rate(node_cpu_seconds_total%5B5m%5D))%20by%20(mode)&g0.range_input=7d" +
  "&g0.end_input=2025-09-30T16%3A56%3A13&g0.relative_time=none&g0.step_input=30m&g0.tab=0" +
  "&g0.tenantID=0&datasourceUrl=https%3A%2F%2Fplay.example.com%2Fselect%2F0%2Fprometheus" +
  "&anomaly_threshold=1.5&anomaly_consecutive=true&fit_window=3d&fit_every=12h" +
  `&model_config=${encodeURIComponent(encodeURIComponent(JSON.stringify(MODEL)))}`;

function read(fragment: string): PageState {
  return readState(splitFragment(fragment).params, NOW);
}

describe("an address of the reference", () => {
  it("is read as it is", () => {
    const to = Date.UTC(2025, 8, 30, 16, 56, 13);
    expect(read(REFERENCE)).toEqual({
      ...DEFAULT_STATE,
      expr: "sum(rate(node_cpu_seconds_total[5m])) by (mode)",
      range: { from: to - 7 * 86_400_000, to },
      step: "30m",
      tenant: "0",
      datasourceUrl: "https://play.example.com/select/0/prometheus",
      threshold: 1.5,
      consecutive: 2,
      fitWindow: "3d",
      fitEvery: "12h",
      model: {
        class: "rolling_quantile",
        quantile: 0.9,
        window_steps: 96,
        detection_direction: "above_expected",
      },
    });
  });
  it("may have the model encoded once", () => {
    const once = `#/?model_config=${encodeURIComponent(JSON.stringify(MODEL))}`;
    expect(read(once).model).toEqual(read(REFERENCE).model);
  });
  it("may have a relative range, and a step that is a number", () => {
    const state = read("#/?g0.range_input=7d&g0.relative_time=last_7_days&g0.step_input=60");
    expect(state.range).toEqual({ relative: "last_7_days" });
    expect(state.step).toBe("1m");
  });
  it("may lack the end", () => {
    expect(read("#/?g0.range_input=3h").range).toEqual({ relative: "last_3_hours" });
    const to = NOW - 678;
    expect(read("#/?g0.range_input=4h").range).toEqual({ from: to - 4 * 3_600_000, to });
  });
});

describe("writeState", () => {
  const full: PageState = {
    mode: "detect",
    expr: 'a{b="ü & +%"}',
    range: { from: NOW - 3_600_000, to: NOW },
    step: "15s",
    tenant: "1:2",
    datasourceUrl: "http://vm:8428/x",
    datasourceType: "vlogs",
    threshold: 0.75,
    consecutive: 3,
    fitWindow: "2d",
    fitEvery: "6h",
    inferEvery: "5m",
    exact: false,
    businessBoundaries: true,
    advancedOpen: true,
    model: { class: "std", scale: [1, 2], data_range: [0, "inf"] },
    timezone: "Europe/Berlin",
    view: "list",
    groupBy: "host",
    hideStatistics: true,
    hideCommonLabels: true,
    others: [
      ["later", "1"],
      ["later", "2"],
    ],
  };
  it("is read back as it was", () => {
    expect(readState(writeState(full), 0)).toEqual(full);
    for (const key of Object.keys(full) as (keyof PageState)[]) {
      const one = { ...DEFAULT_STATE, [key]: full[key] };
      expect(readState(new URLSearchParams(writeState(one).toString()), NOW)).toEqual(one);
    }
  });
  it("leaves out what has its default", () => {
    expect(writeState(DEFAULT_STATE).toString()).toBe("");
  });
  it("encodes the model twice", () => {
    const written = writeState(full).toString();
    const value = /model_config=([^&]*)/.exec(written)![1]!;
    expect(JSON.parse(decodeURIComponent(decodeURIComponent(value))).modelSpec).toEqual(full.model);
  });
  it("holds no login", () => {
    const state = { ...DEFAULT_STATE, datasourceUrl: "https://me:sesame@vm:8428/a@b" };
    expect(writeState(state).get("datasourceUrl")).toBe("https://vm:8428/a@b");
    expect(withoutLogin("http://vm/x?y=@")).toBe("http://vm/x?y=@");
  });
});

describe("what cannot be read", () => {
  it("has its default", () => {
    const broken =
      "#/?g0.range_input=abc&g0.end_input=x&anomaly_threshold=high&fit_window=-1d" +
      "&model_config=%257B&exact=&g0.step_input=1x&datasource_type=graphite&mode=x";
    expect(read(broken)).toEqual(DEFAULT_STATE);
  });
  it("is no fragment at all", () => {
    for (const fragment of ["", "#", "#/", "#/?", "?"]) expect(read(fragment)).toEqual(DEFAULT_STATE);
  });
});

describe("splitFragment", () => {
  it("names the tab", () => {
    expect(splitFragment("#/incidents?a=1").tab).toBe("incidents");
    expect(splitFragment("#/?a=b?c").params.get("a")).toBe("b?c");
  });
});
