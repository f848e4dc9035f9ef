/** What a visit to Suggest asks for: how the series are, and tuning. */

import { isAbort, messageOf } from "../api/client";
import { followTask } from "../api/follow";
import { validateModel } from "../api/service";
import { DOMAIN_KEYS, type Json, type ModelSpec } from "../model/spec";
import { resolvedRange, step, zone } from "../state/page";
import { datasourceFields } from "../state/server";
import { parseDuration } from "../time/duration";
import { withoutDefaults } from "../wizard/defaults";
import * as service from "./api";
import { historiesToTry } from "./history";
import { type Proposal, propose, tuningReasons } from "./proposal";

export interface Present {
  readonly spec: ModelSpec;
  readonly fitWindow: string;
}

export interface Looked {
  /** Null if there is too little to judge. */
  readonly proposal: Proposal | null;
  readonly found: service.Characteristics;
  readonly historyMs: number;
}

/** What a search does not try, and would not keep by itself. */
const KEPT_KEYS: readonly string[] = [...DOMAIN_KEYS, "forecast_at", "holidays", "groupby", "provide_series"];

export const stepMs = (): number => parseDuration(step.value) ?? 60_000;

/** Look at the series of a query; without a length, at the longest history that most of them have. */
export async function look(
  query: string,
  present: Present,
  chosenMs: number | null,
  signal: AbortSignal,
): Promise<Looked> {
  const { to } = resolvedRange.value;
  const lengths = chosenMs === null ? historiesToTry(stepMs()) : [chosenMs];
  let looked: Looked | null = null;
  for (const historyMs of lengths) {
    const found = await service.getCharacteristics(
      datasourceFields.value,
      { query, step: step.value, range: { from: to - historyMs, to }, timezone: zone.value },
      { signal },
    );
    // Of two that most series do not have, the longer one.
    const hasMore = looked === null || found.eligible_series_count > looked.found.eligible_series_count;
    if (hasMore) looked = { proposal: propose(found, present, historyMs), found, historyMs };
    if (found.series_count === 0 || found.eligible_series_share >= 0.5) break;
  }
  const { proposal, ...rest } = looked!;
  return { ...rest, proposal: proposal === null ? null : { ...proposal, spec: await normalized(proposal.spec) } };
}

async function normalized(spec: ModelSpec): Promise<ModelSpec> {
  return withoutDefaults(await validateModel(spec));
}

export interface TuningAsked {
  readonly query: string;
  readonly className: string;
  readonly historyMs: number;
  /** From 0 to below 0.5. */
  readonly anomalyShare: number;
  readonly timeoutS: number;
}

/** Search for the settings of a class; aborting frees the slot on the server. */
export async function tune(
  asked: TuningAsked,
  present: Present,
  onProgress: (progress: number, message: string) => void,
  signal: AbortSignal,
): Promise<Proposal> {
  const { to } = resolvedRange.value;
  const id = await service.startAutotune({
    ...datasourceFields.value,
    query: asked.query,
    step: step.value,
    start: (to - asked.historyMs) / 1000,
    end: to / 1000,
    timezone: zone.value,
    tuned_class_name: asked.className,
    anomaly_percentage: asked.anomalyShare,
    frozen_params: frozen(present.spec, asked.className),
    optimization_params: { timeout: asked.timeoutS },
  });
  const free = (): void => void service.cancelAutotune(id).catch(() => undefined);
  window.addEventListener("pagehide", free);
  try {
    const task = await followTask(
      () => service.getAutotune(id, { signal }),
      ({ progress, message }) => onProgress(progress, message),
      signal,
    );
    if (task.status !== "done" || task.result_data === null) {
      throw new Error(task.error ?? (task.status === "canceled" ? "The service canceled it." : "The task failed."));
    }
    const tuned = task.result_data.data;
    return {
      spec: await withoutDefaults(tuned.modelConfig),
      fitWindow: present.fitWindow,
      reasons: tuningReasons(tuned),
    };
  } catch (error) {
    // It ends by itself, or has ended, where it cannot be canceled.
    free();
    throw error;
  } finally {
    window.removeEventListener("pagehide", free);
  }
}

function frozen(spec: ModelSpec, className: string): Record<string, Json> {
  const keys = spec.class === className ? KEPT_KEYS : DOMAIN_KEYS;
  return Object.fromEntries(keys.filter((key) => key in spec).map((key) => [key, spec[key]!]));
}

/** What to say of a failure; nothing where it was given up. */
export function failureOf(error: unknown, signal: AbortSignal): string {
  return isAbort(error) || signal.aborted ? "" : messageOf(error);
}
