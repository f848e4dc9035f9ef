/** Asking for incidents. */

import { signal } from "@preact/signals";
import { isAbort, messageOf } from "../api/client";
import { joinFragment } from "../state/url";
import { tabParams } from "../state/page";
import { datasourceFields, datasourceInfo } from "../state/server";
import { page } from "../state/page";
import { getIncidents, type Incidents } from "./api";
import { type IncidentsState, readIncidentsState, requestOf, writeIncidentsState } from "./state";

export const PATH = "incidents";

export const found = signal<Incidents | null>(null);
export const error = signal("");
export const isAsking = signal(false);

let asking: AbortController | null = null;

/** Scores are in the datasource that a person chose, else where the service writes them. */
export function fieldsOfScores() {
  const isChosen = page.value.datasourceUrl !== "" || Boolean(datasourceInfo.value?.ui_datasource_url);
  return isChosen ? datasourceFields.value : {};
}

export async function ask(): Promise<void> {
  asking?.abort();
  const current = new AbortController();
  asking = current;
  isAsking.value = true;
  try {
    const asked = requestOf(readIncidentsState(tabParams.value));
    found.value = await getIncidents(fieldsOfScores(), asked, { signal: current.signal });
    error.value = "";
  } catch (problem) {
    if (isAbort(problem)) return;
    error.value = messageOf(problem);
  } finally {
    if (asking === current) isAsking.value = false;
  }
}

export function stopAsking(): void {
  asking?.abort();
}

/** Show something else, with an entry of its own in the history of the browser. */
export function show(state: IncidentsState): void {
  const params = writeIncidentsState(state);
  tabParams.value = params;
  const fragment = joinFragment(PATH, params);
  if (fragment !== location.hash) window.history.pushState(null, "", fragment);
}
