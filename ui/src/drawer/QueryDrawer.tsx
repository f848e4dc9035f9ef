import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { Dialog } from "../components/Dialog";
import { Icon } from "../components/Icon";
import { draft } from "../query/run";
import { history, savedQueries } from "../state/preferences";
import { serverQueries } from "../state/server";

type Shelf = "history" | "saved" | "scheduled";

/** Queries to choose from: those of this browser, and those that the service runs. */
export function QueryDrawer({ onClose }: { onClose: () => void }) {
  const scheduled = Object.entries(serverQueries.value);
  const [shelf, setShelf] = useState<Shelf>("history");
  const [text, setText] = useState("");
  const wanted = text.trim().toLowerCase();
  const isWanted = (...texts: string[]): boolean =>
    texts.some((each) => each.toLowerCase().includes(wanted));

  const choose = (expr: string): void => {
    draft.value = expr;
    onClose();
  };
  const isSaved = (expr: string): boolean => savedQueries.value.some((each) => each.expr === expr);
  const toggle = (expr: string): void => {
    savedQueries.value = isSaved(expr)
      ? savedQueries.value.filter((each) => each.expr !== expr)
      : [{ expr, name: "" }, ...savedQueries.value];
  };

  const item = (expr: string, name?: string): ComponentChildren => (
    <li key={`${name} ${expr}`} class="query-item">
      <button type="button" class="query-choice" onClick={() => choose(expr)}>
        {name !== undefined && <strong>{name}</strong>}
        <code>{expr}</code>
      </button>
      <button
        type="button"
        class={`button quiet icon-only ${isSaved(expr) ? "on" : ""}`}
        aria-pressed={isSaved(expr)}
        aria-label={isSaved(expr) ? "Forget this query" : "Save this query"}
        title={isSaved(expr) ? "Saved" : "Save"}
        onClick={() => toggle(expr)}
      >
        <Icon name="star" />
      </button>
    </li>
  );

  const shelves: Record<Shelf, { title: string; items: ComponentChildren[]; empty: string }> = {
    history: {
      title: `History (${history.value.length})`,
      items: history.value.filter((expr) => isWanted(expr)).map((expr) => item(expr)),
      empty: "Queries that you execute appear here.",
    },
    saved: {
      title: `Saved (${savedQueries.value.length})`,
      items: savedQueries.value.filter(({ expr }) => isWanted(expr)).map(({ expr }) => item(expr)),
      empty: "Save a query with the star next to it.",
    },
    scheduled: {
      title: `Scheduled (${scheduled.length})`,
      items: scheduled.filter((each) => isWanted(...each)).map(([name, expr]) => item(expr, name)),
      empty: "The running service has no queries of its own.",
    },
  };

  return (
    <Dialog title="Queries" isDrawer onClose={onClose}>
      <div class="row wrap tabs" role="group" aria-label="Which queries">
        {(Object.keys(shelves) as Shelf[]).map((each) => (
          <button
            key={each}
            type="button"
            class={`chip ${shelf === each ? "on" : ""}`}
            aria-pressed={shelf === each}
            onClick={() => setShelf(each)}
          >
            {shelves[each].title}
          </button>
        ))}
      </div>
      <input
        class="input"
        type="search"
        aria-label="Search queries"
        placeholder="Search"
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      {shelf === "history" && history.value.length > 0 && (
        <button type="button" class="button quiet" onClick={() => (history.value = [])}>
          <Icon name="trash" /> Clear the history
        </button>
      )}
      {shelves[shelf].items.length > 0 ? (
        <ul class="query-list">{shelves[shelf].items}</ul>
      ) : (
        <p class="empty-note">{wanted === "" ? shelves[shelf].empty : "Nothing matches."}</p>
      )}
    </Dialog>
  );
}
