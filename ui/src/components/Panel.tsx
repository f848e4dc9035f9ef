import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";
import { Icon } from "./Icon";

interface Props {
  title: string;
  badge?: ComponentChildren;
  /** Stays visible when the panel is folded. */
  actions?: ComponentChildren;
  children: ComponentChildren;
}

/** A part of the page that can be folded. */
export function Panel({ title, badge, actions, children }: Props) {
  const [isOpen, setOpen] = useState(true);
  const id = useId();
  return (
    <section class="panel" aria-labelledby={`${id}-title`}>
      <header class="panel-header">
        <button
          type="button"
          class={`fold ${isOpen ? "open" : ""}`}
          aria-expanded={isOpen}
          aria-controls={id}
          onClick={() => setOpen(!isOpen)}
        >
          <Icon name="chevron" />
          <h2 id={`${id}-title`}>{title}</h2>
        </button>
        {badge}
        <div class="panel-actions">{actions}</div>
      </header>
      <div id={id} class="panel-body" hidden={!isOpen}>
        {children}
      </div>
    </section>
  );
}
