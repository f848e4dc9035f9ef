/** What a browser remembers between visits: preferences and queries, never results or secrets. */

import { effect, type Signal, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

export interface Preferences {
  theme: Theme;
  /** Empty for that of the browser. */
  timezone: string;
  completion: boolean;
  passAuthHeaders: boolean;
  /** In pixels at the usual scale; null for what suits the screen. */
  plotHeight: number | null;
  /** Where links from incidents lead; empty for none. */
  grafanaUrl: string;
}

export interface SavedQuery {
  readonly expr: string;
  /** Empty for one of the history. */
  readonly name: string;
}

export const DEFAULT_PREFERENCES: Preferences = {
  theme: "system",
  timezone: "",
  completion: true,
  passAuthHeaders: false,
  plotHeight: null,
  grafanaUrl: "",
};

const LONGEST_HISTORY = 50;

export const preferences = remembered<Preferences>("vmanomaly.preferences", DEFAULT_PREFERENCES);
export const history = remembered<readonly string[]>("vmanomaly.history", []);
export const savedQueries = remembered<readonly SavedQuery[]>("vmanomaly.saved", []);

export function prefer(changes: Partial<Preferences>): void {
  preferences.value = { ...preferences.value, ...changes };
}

export function addToHistory(expr: string): void {
  if (expr.trim() === "") return;
  const others = history.value.filter((each) => each !== expr);
  history.value = [expr, ...others].slice(0, LONGEST_HISTORY);
}

function remembered<T extends object>(key: string, initial: T): Signal<T> {
  const found = signal(readStored(key, initial));
  effect(() => {
    const content = JSON.stringify(found.value);
    try {
      localStorage.setItem(key, content);
    } catch {
      // Private windows may have no storage; the page works without.
    }
  });
  // What another tab has kept would be lost with the next change here.
  window.addEventListener("storage", (event) => {
    if (event.key === key) found.value = readStored(key, initial);
  });
  return found;
}

function readStored<T extends object>(key: string, initial: T): T {
  try {
    const given: unknown = JSON.parse(localStorage.getItem(key) ?? "null");
    if (Array.isArray(initial)) return Array.isArray(given) ? (given as unknown as T) : initial;
    return typeof given === "object" && given !== null ? { ...initial, ...given } : initial;
  } catch {
    return initial;
  }
}
