import { useId, useState } from "preact/hooks";
import { serviceUrl } from "../api/client";
import { messageOf } from "../api/client";
import { queryRange } from "../api/service";
import { Dialog } from "../components/Dialog";
import { Notice } from "../components/Notice";
import { runQuery } from "../query/run";
import { commit, page } from "../state/page";
import { type Preferences, prefer, preferences, type Theme } from "../state/preferences";
import { datasourceInfo, datasourceType, datasourceUrl, isDatasourceFixed } from "../state/server";
import type { DatasourceType } from "../state/url";
import { formatOffset, isZone } from "../time/zone";

const THEMES: readonly (readonly [Theme, string])[] = [
  ["system", "As the system"],
  ["light", "Light"],
  ["dark", "Dark"],
];

/** Where data comes from, and how the page looks; all of it counts after Apply. */
export function SettingsDialog({ onClose }: { onClose: () => void }) {
  const [url, setUrl] = useState(datasourceUrl.value);
  const [type, setType] = useState<"vm" | "vlogs">(datasourceType.value);
  const [wanted, setWanted] = useState<Preferences>({
    ...preferences.value,
    timezone: page.value.timezone || preferences.value.timezone,
  });
  const [error, setError] = useState("");
  const [isChecking, setChecking] = useState(false);
  const id = useId();
  const isFixed = isDatasourceFixed.value;
  const ofServer = datasourceInfo.value?.server_datasource_url ?? "";
  const hasNewDatasource = !isFixed && (url.trim() !== datasourceUrl.value || type !== datasourceType.value);
  const change = (changes: Partial<Preferences>): void => setWanted({ ...wanted, ...changes });

  const apply = async (): Promise<void> => {
    setError("");
    if (!isZone(wanted.timezone)) {
      setError(`There is no time zone ${wanted.timezone}. Write one such as Europe/Berlin, or UTC.`);
      return;
    }
    if (hasNewDatasource) {
      setChecking(true);
      try {
        await check(url.trim(), type, wanted.passAuthHeaders);
      } catch (problem) {
        setError(messageOf(problem));
        return;
      } finally {
        setChecking(false);
      }
    }
    prefer(wanted);
    const datasource = hasNewDatasource
      ? { datasourceUrl: url.trim() === ofServer ? "" : url.trim(), datasourceType: type as DatasourceType }
      : {};
    commit({ ...datasource, timezone: page.value.timezone === "" ? "" : wanted.timezone });
    if (hasNewDatasource && page.value.mode === "query") void runQuery();
    onClose();
  };

  return (
    <Dialog
      title="Settings"
      isDirty={hasNewDatasource || JSON.stringify(wanted) !== JSON.stringify(preferences.value)}
      onClose={onClose}
      footer={
        <>
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button type="button" class="button primary" disabled={isChecking} onClick={() => void apply()}>
            {isChecking ? "Checking…" : "Apply"}
          </button>
        </>
      }
    >
      <div class="form">
        <label for={`${id}-server`}>Server</label>
        <input id={`${id}-server`} class="input mono" readOnly value={serviceUrl("")} />

        <label for={`${id}-url`}>Datasource</label>
        <div>
          <div class="row">
            <input
              id={`${id}-url`}
              class="input mono"
              inputMode="url"
              placeholder="http://victoriametrics:8428"
              value={url}
              disabled={isFixed}
              aria-describedby={`${id}-url-note`}
              onInput={(event) => setUrl(event.currentTarget.value)}
            />
            {!isFixed && ofServer !== "" && url !== ofServer && (
              <button type="button" class="button" onClick={() => setUrl(ofServer)}>
                Reset
              </button>
            )}
          </div>
          <p id={`${id}-url-note`} class="hint">
            {isFixed ? "Set by the server." : ofServer && `The server's default is ${ofServer}.`}
          </p>
        </div>

        <span id={`${id}-type`}>Type</span>
        <div class="row" role="group" aria-labelledby={`${id}-type`}>
          {(
            [
              ["vm", "VictoriaMetrics"],
              ["vlogs", "VictoriaLogs, VictoriaTraces"],
            ] as const
          ).map(([value, title]) => (
            <button
              key={value}
              type="button"
              class={`chip ${type === value ? "on" : ""}`}
              aria-pressed={type === value}
              disabled={isFixed}
              onClick={() => setType(value)}
            >
              {title}
            </button>
          ))}
        </div>

        <span>Login</span>
        <label class="switch">
          <input
            type="checkbox"
            checked={wanted.passAuthHeaders}
            onChange={(event) => change({ passAuthHeaders: event.currentTarget.checked })}
          />
          Pass the login of this page on to the datasource
        </label>

        <span>Query field</span>
        <label class="switch">
          <input
            type="checkbox"
            checked={wanted.completion}
            onChange={(event) => change({ completion: event.currentTarget.checked })}
          />
          Complete names while typing
        </label>

        <label for={`${id}-zone`}>Time zone</label>
        <div>
          <input
            id={`${id}-zone`}
            class="input"
            list={`${id}-zones`}
            placeholder={`${Intl.DateTimeFormat().resolvedOptions().timeZone}, that of the browser`}
            value={wanted.timezone}
            onInput={(event) => change({ timezone: event.currentTarget.value.trim() })}
          />
          <datalist id={`${id}-zones`}>
            {["UTC", ...Intl.supportedValuesOf("timeZone")].map((each) => (
              <option key={each} value={each} />
            ))}
          </datalist>
          <p class="hint">{isZone(wanted.timezone) && formatOffset(Date.now(), wanted.timezone)}</p>
        </div>

        <span id={`${id}-theme`}>Theme</span>
        <div class="row" role="group" aria-labelledby={`${id}-theme`}>
          {THEMES.map(([value, title]) => (
            <button
              key={value}
              type="button"
              class={`chip ${wanted.theme === value ? "on" : ""}`}
              aria-pressed={wanted.theme === value}
              onClick={() => change({ theme: value })}
            >
              {title}
            </button>
          ))}
        </div>
      </div>
      {error !== "" && (
        <Notice kind="error" title="The settings cannot be used">
          {error}
        </Notice>
      )}
    </Dialog>
  );
}

/** Ask a datasource something that every one can answer. */
async function check(url: string, type: "vm" | "vlogs", passAuthHeaders: boolean): Promise<void> {
  const end = Date.now();
  await queryRange(
    {
      ...(url === "" ? {} : { datasource_url: url }),
      datasource_type: type,
      ...(passAuthHeaders ? { pass_auth_headers: true } : {}),
    },
    { query: type === "vlogs" ? "* | stats count() as n" : "1", start: end - 60_000, end, step: "1m" },
    {},
  );
}
