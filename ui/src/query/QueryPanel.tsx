import { useState } from "preact/hooks";
import { messageOf } from "../api/client";
import { prettify } from "../api/service";
import { firstClick } from "../components/click";
import { Icon } from "../components/Icon";
import { Notice } from "../components/Notice";
import { Panel } from "../components/Panel";
import { QueryDrawer } from "../drawer/QueryDrawer";
import { execute } from "../state/actions";
import { datasourceFields, datasourceType, datasourceUrl } from "../state/server";
import { keyNames } from "../shell/keys";
import { QueryField } from "./QueryField";
import { cancelQuery, draft, isDraft, queryState } from "./run";

/** Where the query is written and executed. */
export function QueryPanel() {
  const [isDrawerOpen, setDrawerOpen] = useState(false);
  const [problem, setProblem] = useState("");
  const isLoading = queryState.value.status === "loading";
  const type = datasourceType.value === "vlogs" ? "VictoriaLogs" : "VictoriaMetrics";

  const tidy = async (): Promise<void> => {
    setProblem("");
    try {
      draft.value = await prettify(datasourceFields.value, draft.value);
    } catch (error) {
      setProblem(messageOf(error));
    }
  };

  return (
    <Panel
      title="Query"
      badge={
        <span class="badge" title={datasourceUrl.value || "No datasource yet: see Settings"}>
          {type}
        </span>
      }
      actions={
        <>
          <button type="button" class="button" onClick={() => setDrawerOpen(true)}>
            <Icon name="list" /> Queries
          </button>
          {isLoading ? (
            <button type="button" class="button primary" onClick={firstClick(cancelQuery)}>
              <Icon name="close" /> Cancel query
            </button>
          ) : (
            <button
              type="button"
              class="button primary"
              title={`Execute query (${keyNames.execute})`}
              disabled={draft.value.trim() === ""}
              onClick={firstClick(execute)}
            >
              <Icon name="play" /> Execute query
            </button>
          )}
        </>
      }
    >
      <div class="query-row">
        <QueryField />
        <button
          type="button"
          class="button quiet icon-only"
          aria-label="Prettify the query"
          title="Prettify"
          disabled={datasourceType.value === "vlogs" || draft.value.trim() === ""}
          onClick={() => void tidy()}
        >
          <Icon name="wand" />
        </button>
      </div>
      {isDraft.value && draft.value.trim() !== "" && queryState.value.status !== "idle" && (
        <p class="hint">The query has changed since it was executed.</p>
      )}
      {problem !== "" && (
        <Notice kind="error" title="Cannot prettify">
          {problem}
        </Notice>
      )}
      {queryState.value.status === "error" && (
        <Notice kind="error" title="The query failed">
          {queryState.value.message}
        </Notice>
      )}
      {isDrawerOpen && <QueryDrawer onClose={() => setDrawerOpen(false)} />}
    </Panel>
  );
}
