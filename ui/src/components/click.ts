/** Clicks on buttons that become another one, as Execute becomes Cancel. */

/**
 * Return a handler that leaves out all but the first of a double click: the second one would undo what
 * the first one has begun.
 */
export function firstClick(action: () => void): (event: MouseEvent) => void {
  return (event) => {
    // The keyboard clicks with the detail 0.
    if (event.detail < 2) action();
  };
}
