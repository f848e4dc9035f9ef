/** Double clicks on buttons that become another one, as Execute becomes Cancel. */

/** Whether a click would undo what the first one of a double click has begun. */
export function isSecondClick(event: MouseEvent): boolean {
  // The keyboard clicks with the detail 0.
  return event.detail > 1;
}

/** Return a handler that leaves out all but the first of a double click. */
export function firstClick(action: () => void): (event: MouseEvent) => void {
  return (event) => {
    if (!isSecondClick(event)) action();
  };
}
