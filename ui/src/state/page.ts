/** The state of the page, which its address mirrors. */

import { computed, signal } from "@preact/signals";
import { automaticStep, formatDuration } from "../time/duration";
import { type AbsoluteRange, resolve } from "../time/range";
import { isZone } from "../time/zone";
import { preferences } from "./preferences";
import { joinFragment, LONGEST_ADDRESS, type PageState, readState, splitFragment, writeState } from "./url";

function metaContent(name: string): string {
  return document.querySelector<HTMLMetaElement>(`meta[name="${name}"]`)?.content ?? "";
}

/** For the style sheets of the editor. */
export const styleNonce = metaContent("style-nonce");

function currentFragment(): string {
  // A visit that brings no state gets that of the server.
  return location.hash.length > 2 ? location.hash : metaContent("default-state");
}

const initial = splitFragment(currentFragment());

export const tab = signal(initial.tab);
export const page = signal<PageState>(readState(initial.params, Date.now()));
/** Counts the times that a state came from the address: a visit, back or forward. */
export const arrivals = signal(0);
/** Parameters of a tab other than the first, which it reads and writes itself. */
export const tabParams = signal(initial.params);

export const zone = computed(() => {
  const asked = page.value.timezone || preferences.value.timezone;
  return isZone(asked) ? asked : "";
});

/** Changes with every run, so that relative ranges are of that moment. */
export const now = signal(Date.now());

export const resolvedRange = computed<AbsoluteRange>(() => resolve(page.value.range, now.value, zone.value));

export const step = computed(() => {
  const { from, to } = resolvedRange.value;
  return page.value.step || formatDuration(automaticStep(to - from));
});

export const addressIsTooLong = computed(
  () => writeState(page.value).toString().length > LONGEST_ADDRESS,
);

/** Change the state, with an entry of its own in the history of the browser. */
export function commit(changes: Partial<PageState>): void {
  page.value = { ...page.value, ...changes };
  write("push");
}

/** Change the state in place: for what acts at once. */
export function adjust(changes: Partial<PageState>): void {
  page.value = { ...page.value, ...changes };
  write("replace");
}

function write(how: "push" | "replace"): void {
  const fragment = joinFragment("", writeState(page.value));
  if (how === "push" && fragment !== location.hash) window.history.pushState(null, "", fragment);
  else window.history.replaceState(null, "", fragment);
}

/** Return the address of a tab; the first one keeps its state. */
export function tabAddress(path: string): string {
  return path === "" ? joinFragment("", writeState(page.value)) : `#/${path}`;
}

/** Whether the first tab has been shown. */
let hasArrived = initial.tab === "";

function arrive(): void {
  const { tab: path, params } = splitFragment(currentFragment());
  const before = tab.value;
  tab.value = path;
  tabParams.value = params;
  if (path !== "") return;
  const state = readState(params, Date.now());
  // Who comes back from another tab finds everything as it was, also what runs.
  if (hasArrived && before !== "" && isSame(state, page.value)) return;
  hasArrived = true;
  page.value = state;
  now.value = Date.now();
  arrivals.value += 1;
}

const isSame = (one: PageState, other: PageState): boolean =>
  writeState(one).toString() === writeState(other).toString();

window.addEventListener("popstate", arrive);
