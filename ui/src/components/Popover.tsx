import type { ComponentChildren } from "preact";
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Icon } from "./Icon";

interface Props {
  /** What the button shows. */
  label: ComponentChildren;
  /** The name of the button, where what it shows does not say it. */
  title?: string;
  class?: string;
  align?: "start" | "end";
  disabled?: boolean;
  hasChevron?: boolean;
  children: (close: () => void) => ComponentChildren;
}

/** A button that opens a small panel below it; Escape and a click elsewhere close it. */
export function Popover(props: Props) {
  const { label, title, align = "start", disabled = false, hasChevron = true, children } = props;
  const [isOpen, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const panel = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const id = useId();

  const close = (): void => {
    setOpen(false);
    button.current?.focus();
  };

  useEffect(() => {
    if (!isOpen) return;
    const onPointer = (event: PointerEvent): void => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", onPointer);
    return () => document.removeEventListener("pointerdown", onPointer);
  }, [isOpen]);

  useLayoutEffect(() => {
    const element = panel.current;
    if (!isOpen || element === null) return;
    keepInView(element);
    element.querySelector<HTMLElement>("input, [aria-selected=true], button, select, textarea")?.focus();
  }, [isOpen]);

  return (
    <div
      ref={root}
      class="popover"
      onKeyDown={(event) => {
        if (event.key === "Escape" && isOpen) {
          event.stopPropagation();
          close();
        }
      }}
      onFocusOut={(event) => {
        const next = event.relatedTarget as Node | null;
        if (next !== null && !root.current?.contains(next)) setOpen(false);
      }}
    >
      <button
        ref={button}
        type="button"
        class={`button ${props.class ?? ""}`}
        aria-expanded={isOpen}
        aria-controls={isOpen ? id : undefined}
        aria-label={title}
        title={title}
        disabled={disabled}
        onClick={() => setOpen(!isOpen)}
      >
        {label}
        {hasChevron && <Icon name="chevron" />}
      </button>
      {isOpen && (
        <div ref={panel} id={id} class={`popover-panel align-${align}`}>
          {children(close)}
        </div>
      )}
    </div>
  );
}

/** Move a panel sideways as far as it reaches out of the window. */
function keepInView(element: HTMLElement): void {
  const margin = 8;
  const { left, right } = element.getBoundingClientRect();
  const width = document.documentElement.clientWidth;
  const shift = right > width - margin ? width - margin - right : 0;
  element.style.transform = `translateX(${Math.max(shift, margin - left)}px)`;
  if (shift === 0 && left >= margin) element.style.transform = "";
}
