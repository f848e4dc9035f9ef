/** Zooming: the range before the first gesture can be had back. */

import { signal } from "@preact/signals";
import { chooseRange } from "../state/actions";
import { page } from "../state/page";
import type { AbsoluteRange, TimeRange } from "../time/range";

const rangeBefore = signal<TimeRange | null>(null);

export function zoomTo(range: AbsoluteRange): void {
  rangeBefore.value ??= page.value.range;
  chooseRange(range);
}

export function resetZoom(): void {
  const before = rangeBefore.value;
  rangeBefore.value = null;
  if (before !== null) chooseRange(before);
}

/** A range that was chosen is where a reset leads from now on. */
export function forgetZoom(): void {
  rangeBefore.value = null;
}
