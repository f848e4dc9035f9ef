/** How large the page is drawn: the style sheet grows with the text of the browser and the screen. */

import { signal } from "@preact/signals";

/** What a rem is of the style sheet, in pixels, where nothing is larger than usual. */
const USUAL_REM_PX = 10;

function current(): number {
  return Number.parseFloat(getComputedStyle(document.documentElement).fontSize) / USUAL_REM_PX || 1;
}

/** 1 as usual; what is measured in pixels is to be multiplied by it. */
export const scale = signal(current());

window.addEventListener("resize", () => (scale.value = current()));
