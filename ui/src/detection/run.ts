/** The detection of the page: its task on the server, and what came of it. */

import { computed, signal } from "@preact/signals";
import { ApiError, isAbort, messageOf } from "../api/client";
import { followTask } from "../api/follow";
import * as service from "../api/service";
import { isOnline } from "../model/schema";
import type { ModelSpec } from "../model/spec";
import { now, page, resolvedRange, step } from "../state/page";
import { addToHistory } from "../state/preferences";
import { datasourceFields, datasourceUrl } from "../state/server";
import type { AbsoluteRange } from "../time/range";
import { parseDuration } from "../time/duration";
import { type DetectedSeries, readDetection } from "./result";

export interface Asked {
  readonly expr: string;
  readonly step: string;
  readonly range: AbsoluteRange;
  readonly datasource: string;
  readonly model: ModelSpec;
  readonly fitWindow: string;
}

export interface Detected {
  readonly asked: Asked;
  /** Of everything that the result depends on. */
  readonly key: string;
  readonly series: readonly DetectedSeries[];
  readonly metrics: service.TaskMetrics;
  readonly finishedMs: number;
}

export type RunState =
  | { readonly status: "idle" }
  | { readonly status: "running"; readonly asked: Asked; readonly progress: number; readonly message: string }
  | { readonly status: "canceled" }
  /** All slots are taken. */
  | { readonly status: "full"; readonly limits: service.Limits }
  | { readonly status: "error"; readonly message: string };

export const runState = signal<RunState>({ status: "idle" });
/** The last result; a later run replaces it when it is done. */
export const detected = signal<Detected | null>(null);

export const isRunning = computed(() => runState.value.status === "running");

/** Everything that a result depends on, at the moment. */
const currentKey = computed(() => {
  const { expr, range, fitWindow, fitEvery, inferEvery, exact, model } = page.value;
  return JSON.stringify([
    expr, range, step.value, fitWindow, fitEvery, inferEvery, exact, model, datasourceFields.value,
  ]);
});

/** Whether the result is of something else than what the page says now. */
export const isOutOfDate = computed(
  () => detected.value !== null && detected.value.key !== currentKey.value,
);

/** Points that a run would score or learn from, for each series. */
export const pointsOfRun = computed(() => {
  const { from, to } = resolvedRange.value;
  const stepMs = parseDuration(step.value) ?? 60_000;
  return (to - from + (parseDuration(page.value.fitWindow) ?? 0)) / stepMs;
});

let running: AbortController | null = null;
let taskId: string | null = null;

export async function runDetection(): Promise<void> {
  cancelDetection();
  const mine = (running = new AbortController());
  const { signal } = mine;
  now.value = Date.now();
  const { expr, fitWindow, fitEvery, inferEvery, exact, model, threshold } = page.value;
  const range = resolvedRange.value;
  const key = currentKey.value;
  const asked = { expr, step: step.value, range, datasource: datasourceUrl.value, model, fitWindow };
  addToHistory(expr);
  detected.value = null;
  runState.value = { status: "running", asked, progress: 0, message: "starting" };
  try {
    // Micro-batches change nothing for models that do not learn from them.
    const isExact = exact && (await isOnline(model.class));
    signal.throwIfAborted();
    const id = await service.startDetection(
      {
        ...datasourceFields.value,
        query: expr,
        step: asked.step,
        start_infer_s: range.from / 1000,
        end_infer_s: range.to / 1000,
        fit_window: fitWindow,
        fit_every: fitEvery,
        ...(inferEvery ? { infer_every: inferEvery } : {}),
        exact: isExact,
        anomaly_threshold: threshold,
        model_spec: model,
      },
      {},
    );
    if (signal.aborted) {
      void free(id);
      return;
    }
    taskId = id;
    const task = await followTask(
      () => service.getTask(id, { signal }),
      ({ progress, message }) => (runState.value = { status: "running", asked, progress, message }),
      signal,
    );
    taskId = null;
    end(task, asked, key);
  } catch (error) {
    if (isAbort(error) || signal.aborted) return;
    taskId = null;
    runState.value = await failureOf(error);
  }
}

function end(task: service.Task, asked: Asked, key: string): void {
  if (task.status === "done" && task.result_data !== null) {
    const series = readDetection(task.result_data.data);
    detected.value = { asked, key, series, metrics: task.metrics, finishedMs: Date.now() };
    runState.value = { status: "idle" };
  } else if (task.status === "canceled") {
    runState.value = { status: "canceled" };
  } else {
    runState.value = { status: "error", message: task.error ?? "the task failed" };
  }
}

async function failureOf(error: unknown): Promise<RunState> {
  if (error instanceof ApiError && error.status === 429) {
    try {
      return { status: "full", limits: await service.getLimits() };
    } catch {
      // Say at least what the service said first.
    }
  }
  return { status: "error", message: messageOf(error) };
}

/** Give up the run, and free its slot on the server. */
export function cancelDetection(): void {
  running?.abort();
  running = null;
  const id = taskId;
  taskId = null;
  if (id !== null) void free(id);
  if (runState.value.status === "running") runState.value = { status: "canceled" };
}

async function free(id: string): Promise<void> {
  try {
    await service.cancelTask(id);
  } catch {
    // It ends by itself, or has ended.
  }
}

window.addEventListener("pagehide", cancelDetection);
