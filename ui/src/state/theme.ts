/** Light or dark, as preferred here or by the system. */

import { computed, effect, signal } from "@preact/signals";
import { preferences } from "./preferences";

const query = window.matchMedia("(prefers-color-scheme: dark)");
const systemIsDark = signal(query.matches);
query.addEventListener("change", () => (systemIsDark.value = query.matches));

export const effectiveTheme = computed<"light" | "dark">(() => {
  const { theme } = preferences.value;
  return theme === "system" ? (systemIsDark.value ? "dark" : "light") : theme;
});

effect(() => {
  document.documentElement.dataset.theme = effectiveTheme.value;
});
