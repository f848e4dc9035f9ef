/** The tabs of the page. A new one is one entry here. */

import type { ComponentType } from "preact";
import { Exploration } from "../Exploration";

export interface Tab {
  /** Its part of the address: `#/PATH?…`. */
  readonly path: string;
  readonly title: string;
  /** Loaded when it is opened first, unless it is there already. */
  readonly load: () => Promise<ComponentType> | ComponentType;
  /** Whether the header has tenant, step and time range. */
  readonly hasQueryControls: boolean;
}

export const TABS: readonly Tab[] = [
  { path: "", title: "Anomaly exploration", load: () => Exploration, hasQueryControls: true },
  {
    path: "incidents",
    title: "Incidents",
    load: () => import("../incidents/Incidents").then(({ Incidents }) => Incidents),
    hasQueryControls: false,
  },
  {
    path: "health",
    title: "Health",
    load: () => import("../health/Health").then(({ Health }) => Health),
    hasQueryControls: false,
  },
];

export function tabOf(path: string): Tab {
  return TABS.find((tab) => tab.path === path) ?? TABS[0]!;
}
