/** What a person can do with the page as a whole. */

import { isWanted } from "../detection/cost";
import { runDetection, cancelDetection } from "../detection/run";
import { cancelQuery, draft, runQuery } from "../query/run";
import type { TimeRange } from "../time/range";
import { commit } from "./page";

export function execute(): void {
  cancelDetection();
  commit({ expr: draft.value, mode: "query" });
  void runQuery();
}

export function detect(): void {
  if (!isWanted()) return;
  cancelQuery();
  commit({ expr: draft.value, mode: "detect" });
  void runDetection();
}

/** Choose another range: the series are asked for again, a detection waits to be asked for. */
export function chooseRange(range: TimeRange): void {
  commit({ range });
  void runQuery();
}
