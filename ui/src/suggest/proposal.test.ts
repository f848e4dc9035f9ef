import { describe, expect, it } from "vitest";
import type { Characteristics, Tuned } from "./api";
import { historiesToTry, possibleHistories } from "./history";
import { propose, tuningReasons } from "./proposal";

const DAY_MS = 86_400_000;
const NONE = { share: 0, strength: 0, shape: null };

const steady: Characteristics = {
  series_count: 4,
  eligible_series_count: 4,
  eligible_series_share: 1,
  has_trend: false,
  trend: { share: 0, direction_mode: "none" },
  seasonalities: { hod: NONE, dow: NONE, month: NONE, recommended: [] },
  not_measured: [],
  shape: { flat_share: 0, spiky_share: 0, intermittent_share: 0 },
  changepoints: { share: 0 },
  gaps: { share: 0, longest_steps: 0 },
};
const daily: Characteristics = {
  ...steady,
  seasonalities: {
    ...steady.seasonalities,
    hod: { share: 0.75, strength: 0.812, shape: "plateau" },
    recommended: ["hod_plateau"],
  },
  not_measured: ["month"],
};
const present = { spec: { class: "temporal_envelope", forecast_at: ["1h"], data_range: [0, "inf"] }, fitWindow: "1d" };

describe("a proposal", () => {
  it("learns the patterns that there are, from a window that shows them twice", () => {
    const proposal = propose(daily, present, 14 * DAY_MS)!;
    // The class is that of the page, whose settings stay.
    expect(proposal.spec).toEqual({ ...present.spec, seasonalities: ["hod_plateau"] });
    expect(proposal.fitWindow).toBe("2d");
    expect(proposal.reasons).toEqual([
      "3 of 4 series repeat each day, with plateaus: the pattern explains 81% of their variance.",
      "Each fit learns from 2d, so that it sees the pattern at least twice.",
    ]);
  });

  it("never needs more history than there is, nor shortens a window", () => {
    const yearly = {
      ...daily,
      seasonalities: { ...daily.seasonalities, month: { share: 1, strength: 0.5, shape: "smooth" }, recommended: ["month_smooth"] },
    };
    expect(propose(yearly, present, 30 * DAY_MS)!.fitWindow).toBe("30d");
    expect(propose(daily, { ...present, fitWindow: "7d" }, 14 * DAY_MS)!.fitWindow).toBe("7d");
  });

  const share = (key: "flat_share" | "spiky_share" | "intermittent_share"): Characteristics["shape"] => ({
    ...steady.shape,
    [key]: 0.5,
  });
  const cases: [string, Characteristics, string, RegExp][] = [
    ["steady noise", steady, "zscore_online", /steady level/],
    ["spikes", { ...steady, shape: share("spiky_share") }, "mad_online", /2 of 4 series have single spikes/],
    ["constants", { ...steady, shape: share("flat_share") }, "mad_online", /hardly ever change/],
    ["rare values", { ...steady, shape: share("intermittent_share") }, "quantile_online", /missing or zero/],
    [
      "a trend",
      { ...steady, has_trend: true, trend: { share: 0.5, direction_mode: "up" } },
      "temporal_envelope",
      /have an upward trend/,
    ],
    ["shifts", { ...steady, changepoints: { share: 0.5 } }, "temporal_envelope", /shifts of their level/],
  ];
  it.each(cases)("for %s", (_, found, name, reason) => {
    const proposal = propose(found, { spec: { class: "std", period: 5, scale: [2, 2] }, fitWindow: "1d" }, 7 * DAY_MS)!;
    // Domain knowledge stays, the settings of another class do not.
    expect(proposal.spec).toMatchObject({ class: name, scale: [2, 2] });
    expect(proposal.spec).not.toHaveProperty("period");
    expect(proposal.fitWindow).toBe("1d");
    expect(proposal.reasons.join("\n")).toMatch(reason);
  });

  it("divides rare values by the season they have", () => {
    const found = { ...daily, shape: share("intermittent_share") };
    expect(propose(found, present, 14 * DAY_MS)!.spec).toMatchObject({ seasonal_interval: "1d", min_subseason: "1h" });
  });

  it("says what could not be judged", () => {
    const found: Characteristics = {
      ...steady,
      series_count: 5,
      not_measured: ["dow", "month"],
      gaps: { share: 0.25, longest_steps: 9 },
    };
    expect(propose(found, present, 3 * DAY_MS)!.reasons.slice(-3)).toEqual([
      "3d cannot show a pattern of the week; that takes 14d of history.",
      "1 of 5 series have too few values to be judged.",
      "1 of 4 series have gaps, the longest of 9 steps; nothing is scored there.",
    ]);
  });

  it("is none without series", () => {
    expect(propose({ ...steady, eligible_series_count: 0 }, present, DAY_MS)).toBeNull();
  });
});

describe("what tuning found", () => {
  const tuned: Tuned = {
    modelConfig: { class: "mad_online" },
    bestScore: 0.8,
    tunedInputCount: 4,
    optimization: {
      n_trials_done: 12,
      stopped_by: "timeout",
      anomaly_percentage: 0.01,
      elapsed_s: 59.6,
      loss: 0.25,
      violation: 0,
      anomaly_share: 0.0042,
      defaults: { loss: 0.5, violation: 0, anomaly_share: 0.1 },
    },
  };
  it("is said in words", () => {
    expect(tuningReasons(tuned)).toEqual([
      "12 trials on 4 series in 60 s; the time was up.",
      "The loss is 0.25, and 0.5 with the defaults; less is better.",
      "0.42% of the points that were not learned from are anomalies; at most 1% were expected.",
    ]);
  });
  it("may have a larger loss and no more anomalies than expected", () => {
    const defaults = { ...tuned.optimization.defaults, violation: 0.02, loss: 0.2 };
    const ofLoss = "The loss is 0.25, and 0.2 with the defaults.";
    for (const [violation, now] of [[0, "with these settings none has"], [0.01, "these settings find fewer"]] as const) {
      const optimization = { ...tuned.optimization, violation, defaults };
      expect(tuningReasons({ ...tuned, optimization })[1]).toBe(
        `With the defaults some series have more anomalies than expected; ${now}. ${ofLoss}`,
      );
    }
  });
  it("may be nothing", () => {
    const optimization = { ...tuned.optimization, loss: 0.5, anomaly_share: 0.02 };
    const [, loss, found] = tuningReasons({ ...tuned, optimization });
    expect(loss).toBe("Nothing was found that is better than the defaults, whose loss is 0.5.");
    expect(found).toContain("2%");
    expect(found).toContain("more than the 1% expected");
  });
});

describe("the history", () => {
  it("is as long as its points can be read at once", () => {
    expect(possibleHistories(60_000)).toEqual([14, 7, 3, 1].map((days) => days * DAY_MS));
    expect(possibleHistories(1000)).toEqual([30_000_000]);
  });
  it("is at first what shows patterns of the week", () => {
    expect(historiesToTry(3_600_000)).toEqual([14, 7, 3, 1].map((days) => days * DAY_MS));
  });
});
