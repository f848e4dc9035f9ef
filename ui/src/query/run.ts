/** The query of the page, and what came of it. */

import { computed, signal } from "@preact/signals";
import { isAbort, messageOf, UnreachableError } from "../api/client";
import { readSeries, type Series } from "../api/matrix";
import { queryRange } from "../api/service";
import { now, page, resolvedRange, step } from "../state/page";
import { addToHistory } from "../state/preferences";
import { datasourceFields, datasourceUrl } from "../state/server";
import type { AbsoluteRange } from "../time/range";

/** What a query was about. */
export interface Asked {
  readonly expr: string;
  readonly step: string;
  readonly range: AbsoluteRange;
  readonly datasource: string;
}

export type QueryState =
  | { readonly status: "idle" }
  | {
      readonly status: "loading";
      readonly asked: Asked;
      /** What the same query found for another range. */
      readonly before: readonly Series[];
    }
  | { readonly status: "error"; readonly asked: Asked; readonly message: string }
  | {
      readonly status: "done";
      readonly asked: Asked;
      readonly series: readonly Series[];
      readonly tookMs: number;
    };

export const queryState = signal<QueryState>({ status: "idle" });

/** What is in view, or was until it is known what comes instead. */
let shown: Extract<QueryState, { status: "done" }> | null = null;

/** What the field holds, which counts once it is executed. */
export const draft = signal(page.value.expr);

export const isDraft = computed(() => draft.value !== page.value.expr);

let running: AbortController | null = null;

/** Ask for the series of the page's query; an earlier request is given up. */
export async function runQuery(): Promise<void> {
  running?.abort();
  const mine = (running = new AbortController());
  now.value = Date.now();
  const asked = {
    expr: page.value.expr,
    step: step.value,
    range: resolvedRange.value,
    datasource: datasourceUrl.value,
  };
  if (asked.expr.trim() === "") {
    queryState.value = { status: "idle" };
    return;
  }
  addToHistory(asked.expr);
  const { status } = queryState.peek();
  if (status !== "done" && status !== "loading") shown = null;
  queryState.value = { status: "loading", asked, before: shown !== null && isSame(shown.asked, asked) ? shown.series : [] };
  const startedMs = performance.now();
  try {
    const matrix = await queryRange(
      datasourceFields.value,
      { query: asked.expr, step: asked.step, start: asked.range.from, end: asked.range.to },
      { signal: mine.signal },
    );
    const series = matrix.result.filter(({ values }) => values !== undefined).map(readSeries);
    queryState.value = shown = { status: "done", asked, series, tookMs: performance.now() - startedMs };
  } catch (error) {
    if (isAbort(error)) return;
    // A banner says that nothing answers; what is shown stays.
    queryState.value =
      error instanceof UnreachableError && shown !== null
        ? shown
        : { status: "error", asked, message: messageOf(error) };
  }
}

function isSame(before: Asked, asked: Asked): boolean {
  // A query of the address runs before the service has said what its datasource is.
  return before.expr === asked.expr && (before.datasource || asked.datasource) === asked.datasource;
}

export function cancelQuery(): void {
  running?.abort();
  const state = queryState.value;
  if (state.status !== "loading") return;
  // What is in view stays, if it is of this query.
  queryState.value = shown !== null && isSame(shown.asked, state.asked) ? shown : { status: "idle" };
}
