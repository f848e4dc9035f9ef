import { describe, expect, it } from "vitest";
import type { IncidentSeries } from "./api";
import { grafanaLink, selectorOf, windowAround } from "./links";

const SERIES: IncidentSeries = {
  query: "cpu",
  model_alias: "envelope",
  scheduler_alias: "live",
  preset: "default",
  labels: { host: 'a"b' },
  start: 1000,
  end: 1600,
  peak: 3,
  peak_at: 1200,
  n_points: 10,
  severity: 2,
};

describe("links", () => {
  it("shows as much around an incident as it lasts, and at least thirty points", () => {
    expect(windowAround({ start: 10_000, end: 19_000 }, 60)).toEqual({ from: 1000, to: 28_000 });
    expect(windowAround({ start: 10_000, end: 10_000 }, 60)).toEqual({ from: 8200, to: 11_800 });
  });

  it("selects all outputs of a series, quoted", () => {
    expect(selectorOf(SERIES)).toBe(
      '{__name__=~"y|yhat|yhat_lower|yhat_upper|anomaly_score|incident_score",' +
        'for="cpu",model_alias="envelope",scheduler_alias="live",preset="default",host="a\\"b"}',
    );
  });

  it("opens them in Grafana", () => {
    const link = new URL(grafanaLink("http://grafana/sub/", SERIES, { from: 1, to: 2.5 }));
    expect(link.pathname).toBe("/sub/explore");
    const { a } = JSON.parse(link.searchParams.get("panes")!) as { a: { range: object; queries: { expr: string }[] } };
    expect(a.range).toEqual({ from: "1000", to: "2500" });
    expect(a.queries[0]!.expr).toBe(selectorOf(SERIES));
  });
});
