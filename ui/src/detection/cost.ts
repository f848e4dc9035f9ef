/** How dear a run is, before it starts. */

import { formatNumber } from "../components/format";
import { queryState } from "../query/run";
import { pointsOfRun } from "./run";

/** From here on a run is worth a warning. */
const MANY_POINTS = 1_000_000;

/** Return whether a run reads few points, or is wanted all the same. */
export function isWanted(): boolean {
  const state = queryState.value;
  const nSeries = state.status === "done" ? state.series.length : 1;
  const nPoints = Math.round(pointsOfRun.value * nSeries);
  return (
    nPoints <= MANY_POINTS ||
    window.confirm(
      `This run reads about ${formatNumber(nPoints)} points. A larger step, a shorter time range or ` +
        "a shorter fit window makes it faster. Start it?",
    )
  );
}
