import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { Icon } from "./Icon";

interface Props {
  title: string;
  /** From the side rather than in the middle. */
  isDrawer?: boolean;
  isWide?: boolean;
  /** Asked before it closes by Escape or by a click outside. */
  isDirty?: boolean;
  onClose: () => void;
  footer?: ComponentChildren;
  children: ComponentChildren;
}

/** A modal dialog: keeps the focus, and gives it back. */
export function Dialog({ title, isDrawer, isWide, isDirty, onClose, footer, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  // A text selection may end outside; that is no click there.
  const pressedOutside = useRef(false);

  useEffect(() => {
    const element = dialog.current;
    const before = document.activeElement as HTMLElement | null;
    element?.showModal();
    return () => {
      element?.close();
      before?.focus();
    };
  }, []);

  const ask = (): void => {
    if (!isDirty || window.confirm("Discard the changes?")) onClose();
  };

  return (
    <dialog
      ref={dialog}
      class={`dialog ${isDrawer ? "drawer" : ""} ${isWide ? "wide" : ""}`}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        ask();
      }}
      onPointerDown={(event) => (pressedOutside.current = event.target === dialog.current)}
      onClick={(event) => {
        if (event.target === dialog.current && pressedOutside.current) ask();
      }}
    >
      <div class="dialog-content">
        <div class="dialog-header">
          <h2 id={id}>{title}</h2>
          <button type="button" class="button quiet icon-only" aria-label="Close" onClick={ask}>
            <Icon name="close" />
          </button>
        </div>
        <div class="dialog-body">{children}</div>
        {footer !== undefined && <div class="dialog-footer">{footer}</div>}
      </div>
    </dialog>
  );
}
