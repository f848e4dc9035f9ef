import { effect, untracked } from "@preact/signals";
import { render } from "preact";
import { App } from "./App";
import { cancelDetection } from "./detection/run";
import { draft, queryState, runQuery } from "./query/run";
import { arrivals, page, tab } from "./state/page";
import { askServer, serverQueries } from "./state/server";
import "./style.css";

render(<App />, document.getElementById("app")!);

/** Show what the address says: the query runs by itself, a detection only when it is asked for. */
function show(): void {
  cancelDetection();
  draft.value = page.value.expr;
  if (page.value.expr === "") queryState.value = { status: "idle" };
  else if (page.value.mode === "query") void runQuery();
}

async function start(): Promise<void> {
  const hadState = page.value.expr !== "";
  if (hadState && tab.value === "") show();
  await askServer();
  // A first visit starts from what the service runs; another datasource knows none of it.
  const first = Object.values(serverQueries.value)[0];
  const isOfServer = page.value.datasourceUrl === "";
  if (!hadState && isOfServer && draft.value === "" && first !== undefined) draft.value = first;
}

effect(() => {
  if (arrivals.value > 0) untracked(show);
});

void start();
