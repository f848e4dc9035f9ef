/** What series are like, turned into a model and its settings, with the reasons. */

import { formatNumber } from "../components/format";
import { type ModelSpec, withClass } from "../model/spec";
import { formatDuration, parseDuration } from "../time/duration";
import type { Characteristics, Tuned } from "./api";

/** What the page could have instead of what it has. */
export interface Proposal {
  readonly spec: ModelSpec;
  readonly fitWindow: string;
  /** Sentences. */
  readonly reasons: readonly string[];
}

/** From this share on, something is true of the series as a whole. */
const MOST = 0.5;
const DAY_MS = 86_400_000;
const CYCLES: Readonly<Record<string, { name: string; lengthMs: number }>> = {
  hod: { name: "day", lengthMs: DAY_MS },
  dow: { name: "week", lengthMs: 7 * DAY_MS },
  month: { name: "year", lengthMs: 365 * DAY_MS },
};
const SHAPES: Readonly<Record<string, string>> = {
  smooth: "smoothly",
  spiky: "with sharp peaks",
  plateau: "with plateaus",
};

/**
 * Propose a model for series; null if there is too little to judge.
 *
 * `present` is what the page has. Its domain knowledge stays, and all its settings if the class does.
 */
export function propose(
  found: Characteristics,
  present: { spec: ModelSpec; fitWindow: string },
  historyMs: number,
): Proposal | null {
  if (found.eligible_series_count === 0) return null;
  const patterns = patternsOf(found);
  const { name, settings, reasons } = classFor(found, patterns);
  const base = present.spec.class === name ? present.spec : withClass(present.spec, name);
  const cycleMs = Math.max(0, ...patterns.map((cycle) => CYCLES[cycle]!.lengthMs));
  const fitWindow = fitWindowFor(present.fitWindow, cycleMs, historyMs);
  const all = [...reasons];
  if (fitWindow !== present.fitWindow) {
    const isEnough = (parseDuration(fitWindow) ?? 0) >= 2 * cycleMs;
    all.push(
      `Each fit learns from ${fitWindow}, ${isEnough ? "so that it sees the pattern at least twice" : "all that was looked at"}.`,
    );
  }
  return { spec: { ...base, ...settings }, fitWindow, reasons: [...all, ...remarks(found, historyMs)] };
}

function patternsOf(found: Characteristics): string[] {
  return Object.keys(CYCLES).filter((cycle) =>
    found.seasonalities.recommended.some((pattern) => pattern.startsWith(`${cycle}_`)),
  );
}

interface Choice {
  readonly name: string;
  readonly settings: Omit<ModelSpec, "class">;
  readonly reasons: readonly string[];
}

function classFor(found: Characteristics, patterns: readonly string[]): Choice {
  const { shape, changepoints, seasonalities } = found;
  if (shape.intermittent_share >= MOST) return intermittent(found, patterns);
  if (shape.flat_share >= MOST) {
    return {
      name: "mad_online",
      settings: {},
      reasons: [
        `${share(found, shape.flat_share)} hardly ever change: the median is what is expected, and any other value stands out.`,
        "Set a minimum deviation if small departures do not matter.",
      ],
    };
  }
  const hasShifts = changepoints.share >= MOST;
  if (patterns.length > 0 || found.has_trend || hasShifts) {
    const reasons = patterns.map((cycle) => patternReason(found, cycle));
    if (found.has_trend) {
      const { share: trending, direction_mode: direction } = found.trend;
      const trend = { up: "an upward trend", down: "a downward trend" }[direction] ?? "a trend";
      reasons.push(`${share(found, trending)} have ${trend}, which the model follows.`);
    }
    if (hasShifts) {
      reasons.push(
        `${share(found, changepoints.share)} have shifts of their level, which the model takes up after some points.`,
      );
    }
    return { name: "temporal_envelope", settings: { seasonalities: seasonalities.recommended }, reasons };
  }
  const steady = "There is no pattern of the calendar, no trend and no shift of the level in most series";
  if (shape.spiky_share >= MOST) {
    return {
      name: "mad_online",
      settings: {},
      reasons: [
        `${steady}.`,
        `${share(found, shape.spiky_share)} have single spikes. The median absolute deviation is not widened by them.`,
      ],
    };
  }
  return {
    name: "zscore_online",
    settings: {},
    reasons: [`${steady}: it is noise around a steady level, for which the cheapest model is enough.`],
  };
}

function intermittent(found: Characteristics, patterns: readonly string[]): Choice {
  const reasons = [
    `${share(found, found.shape.intermittent_share)} are missing or zero at half of the points or more: ` +
      "quantiles describe such values, mean and deviation do not.",
    ...patterns.filter((cycle) => cycle !== "month").map((cycle) => patternReason(found, cycle)),
  ];
  const season = patterns.includes("dow") ? "7d" : patterns.includes("hod") ? "1d" : null;
  const settings = season === null ? {} : { seasonal_interval: season, min_subseason: "1h" };
  return { name: "quantile_online", settings, reasons };
}

function patternReason(found: Characteristics, cycle: string): string {
  const { share: repeating, strength, shape } = found.seasonalities[cycle as "hod" | "dow" | "month"];
  const kind = SHAPES[shape ?? ""];
  return (
    `${share(found, repeating)} repeat each ${CYCLES[cycle]!.name}${kind ? `, ${kind}` : ""}: ` +
    `the pattern explains ${Math.round(100 * strength)}% of their variance.`
  );
}

/** Write how many of the series that could be judged: 3 of 4 series. */
function share(found: Characteristics, part: number): string {
  const count = found.eligible_series_count;
  return `${formatNumber(Math.round(part * count))} of ${formatNumber(count)} series`;
}

/** Return a fit window with two cycles; the present one if that is long enough. */
function fitWindowFor(present: string, cycleMs: number, historyMs: number): string {
  const wanted = Math.min(2 * cycleMs, historyMs);
  return (parseDuration(present) ?? 0) >= wanted ? present : formatDuration(wanted);
}

function remarks(found: Characteristics, historyMs: number): string[] {
  const all: string[] = [];
  const unknown = found.not_measured.filter((cycle) => cycle === "hod" || cycle === "dow");
  for (const cycle of unknown) {
    all.push(
      `${formatDuration(historyMs)} cannot show a pattern of the ${CYCLES[cycle]!.name}; that takes ` +
        `${formatDuration(2 * CYCLES[cycle]!.lengthMs)} of history.`,
    );
  }
  const left = found.series_count - found.eligible_series_count;
  if (left > 0) all.push(`${left} of ${found.series_count} series have too few values to be judged.`);
  if (found.gaps.share > 0) {
    all.push(
      `${share(found, found.gaps.share)} have gaps, the longest of ${found.gaps.longest_steps} steps; nothing is scored there.`,
    );
  }
  return all;
}

const ENDS: Readonly<Record<string, string>> = {
  timeout: "the time was up",
  n_trials: "no more were asked for",
  space: "which is all there is to try",
  data: "the history is too short for more",
};

/** Say in words what tuning found. */
export function tuningReasons({ optimization, tunedInputCount }: Tuned): string[] {
  const { n_trials_done: trials, stopped_by: end, elapsed_s: took } = optimization;
  const why = ENDS[end];
  const reasons = [
    `${trials} ${trials === 1 ? "trial" : "trials"} on ${tunedInputCount} series ` +
      `in ${took.toFixed(0)} s${why ? `; ${why}` : ""}.`,
    comparedWithDefaults(optimization),
  ];
  const { anomaly_share: found, anomaly_percentage: most } = optimization;
  reasons.push(
    `${percent(found)} of the points that were not learned from are anomalies` +
      (found > most ? `, more than the ${percent(most)} expected.` : `; at most ${percent(most)} were expected.`),
  );
  return reasons;
}

function comparedWithDefaults({ loss, violation, defaults }: Tuned["optimization"]): string {
  if (violation < defaults.violation) {
    // This comes before the loss, which may be larger then.
    const now = violation > 0 ? "these settings find fewer" : "with these settings none has";
    return (
      `With the defaults some series have more anomalies than expected; ${now}. ` +
      `The loss is ${short(loss)}, and ${short(defaults.loss)} with the defaults.`
    );
  }
  return loss < defaults.loss
    ? `The loss is ${short(loss)}, and ${short(defaults.loss)} with the defaults; less is better.`
    : `Nothing was found that is better than the defaults, whose loss is ${short(defaults.loss)}.`;
}

const short = (value: number): string => String(Number(value.toPrecision(3)));
const percent = (part: number): string => `${Number((100 * part).toPrecision(3))}%`;
