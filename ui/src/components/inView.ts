/** What appears in a dialog, which may be longer than the window. */

import type { RefObject } from "preact";
import { useLayoutEffect } from "preact/hooks";

/** Scroll a dialog to an element when it appears in it, or says something else. */
export function useInView(element: RefObject<HTMLElement | null>, says: string): void {
  useLayoutEffect(() => {
    if (element.current?.closest("dialog")) element.current.scrollIntoView({ block: "nearest" });
  }, [says]);
}
