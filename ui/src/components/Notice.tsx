import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import { Icon } from "./Icon";
import { useInView } from "./inView";

interface Props {
  kind: "error" | "warning" | "info";
  title?: string;
  actions?: ComponentChildren;
  children?: ComponentChildren;
}

/** Something to know, at the place that it is about. */
export function Notice({ kind, title, actions, children }: Props) {
  const root = useRef<HTMLDivElement>(null);
  useInView(root, String(children));
  return (
    <div ref={root} class={`notice ${kind}`} role={kind === "error" ? "alert" : "status"}>
      <Icon name={kind === "info" ? "info" : "warning"} />
      <div class="notice-text">
        {title !== undefined && <strong>{title}</strong>}
        {children !== undefined && <div>{children}</div>}
      </div>
      {actions !== undefined && <div class="notice-actions">{actions}</div>}
    </div>
  );
}
