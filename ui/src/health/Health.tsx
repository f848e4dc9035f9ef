import { useEffect, useState } from "preact/hooks";
import { isAbort, isReachable, messageOf } from "../api/client";
import { Icon } from "../components/Icon";
import { Notice } from "../components/Notice";
import { Panel } from "../components/Panel";
import { formatNumber } from "../components/format";
import { lasting } from "../incidents/words";
import { getStatus, type ModelStatus, type QueryStatus, type Status } from "./api";
import { ago, failuresText, formatSize, headline, runsText, schedulerState, secondsText } from "./words";
import "./health.css";

const REFRESH_EVERY_MS = 5000;

/** The tab that tells how the service is, and what to do about it. */
export function Health() {
  const [status, setStatus] = useState<Status | null>(null);
  const [error, setError] = useState("");
  useEffect(() => {
    const asking = new AbortController();
    const ask = async (): Promise<void> => {
      if (document.visibilityState !== "visible") return;
      try {
        setStatus(await getStatus({ signal: asking.signal }));
        setError("");
      } catch (problem) {
        if (!isAbort(problem)) setError(messageOf(problem));
      }
    };
    void ask();
    const timer = setInterval(() => void ask(), REFRESH_EVERY_MS);
    return () => {
      clearInterval(timer);
      asking.abort();
    };
  }, []);
  return (
    <>
      <h1 class="off-screen">Health</h1>
      {error !== "" && isReachable.value && (
        <Notice kind="error" title="The service did not say how it is">
          {error}
        </Notice>
      )}
      {status === null ? (
        <div class="loading" role="status">
          Asking the service…
        </div>
      ) : (
        <Content status={status} />
      )}
    </>
  );
}

function Content({ status }: { status: Status }) {
  const nowS = Date.now() / 1000;
  const { kind, text } = headline(status);
  const { writer } = status;
  return (
    <>
      <section class={`panel health-head ${kind}`} aria-label="Summary" aria-live="polite">
        <Icon name={kind === "ok" ? "check" : "warning"} />
        <h2>{text}</h2>
        <dl class="health-facts">
          <Fact title="Runs for" value={status.started_at > 0 ? lasting(nowS - status.started_at) : "—"} />
          <Fact
            title="Memory"
            value={
              status.available_memory_bytes > 0
                ? `${formatSize(status.memory_bytes)} of ${formatSize(status.available_memory_bytes)}`
                : formatSize(status.memory_bytes)
            }
          />
          <Fact title="Written" value={`${formatNumber(writer.n_sent)} points`} />
          <Fact
            title="Waits to be written"
            value={
              writer.waiting_since === null
                ? "nothing"
                : `${formatSize(writer.queue_bytes)}, the oldest from ${ago(writer.waiting_since, nowS)}`
            }
          />
          <Fact title="Stored states" value={formatSize(status.state_bytes)} />
        </dl>
      </section>
      {status.findings.length > 0 && (
        <section class="findings" aria-label="What needs attention">
          {status.findings.map(({ severity, subject, message, remedy }) => (
            <Notice
              key={subject + message}
              kind={severity}
              title={subject === "" ? message : `${subject.charAt(0).toUpperCase()}${subject.slice(1)}: ${message}`}
            >
              {`What to do: ${remedy}.`}
            </Notice>
          ))}
        </section>
      )}
      <Panel title="Schedulers" badge={<span class="count">{status.schedulers.length}</span>}>
        <Table
          heads={["Scheduler", "Class", "State", "Last run", "Restarts"]}
          rows={status.schedulers.map((each) => [
            <strong>{each.alias}</strong>,
            each.class_name,
            schedulerState(each),
            ago(each.last_run, nowS),
            formatNumber(each.n_restarts),
          ])}
          empty="No scheduler is configured: this service answers requests only."
        />
      </Panel>
      <Panel title="Queries" badge={<span class="count">{status.n_queries}</span>}>
        <Table
          heads={["Query", "Scheduler", "Requests", "Mean time", "Samples", "Failed"]}
          rows={status.queries.map((each) => queryRow(each))}
          empty="No query has been read yet."
          nTotal={status.n_queries}
        />
      </Panel>
      <Panel title="Models" badge={<span class="count">{status.n_models}</span>}>
        <Table
          heads={["Model", "Query", "Scheduler", "Fitted series", "Fits", "Last fit", "Infers", "Last infer", "Mean infer"]}
          rows={status.models.map((each) => modelRow(each, nowS))}
          empty="No model runs."
          nTotal={status.n_models}
        />
      </Panel>
      <Panel title="Writer" badge={<span class="badge">{writer.class_name}</span>}>
        <Table
          heads={["Written points", "Waiting", "Failed requests", "Lost points"]}
          rows={[
            [
              formatNumber(writer.n_sent),
              formatSize(writer.queue_bytes),
              failuresText(writer.failures) || "none",
              failuresText(writer.dropped) || "none",
            ],
          ]}
          empty=""
        />
      </Panel>
    </>
  );
}

function Fact({ title, value }: { title: string; value: string }) {
  return (
    <div>
      <dt>{title}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function queryRow(query: QueryStatus): Cell[] {
  return [
    <strong>{query.query}</strong>,
    query.scheduler,
    formatNumber(query.n_requests),
    secondsText(query.mean_duration_s),
    formatNumber(query.n_samples),
    failuresText(query.failures) || "none",
  ];
}

function modelRow(model: ModelStatus, nowS: number): Cell[] {
  return [
    <strong>{model.model}</strong>,
    model.query,
    model.scheduler,
    formatNumber(model.n_active),
    runsText(model.fit),
    ago(model.fit.last_run, nowS),
    runsText(model.infer),
    ago(model.infer.last_run, nowS),
    secondsText(model.infer.mean_duration_s),
  ];
}

type Cell = preact.ComponentChildren;

function Table({ heads, rows, empty, nTotal }: { heads: string[]; rows: Cell[][]; empty: string; nTotal?: number }) {
  if (rows.length === 0) return <p class="empty-note">{empty}</p>;
  return (
    <>
      <div class="table-scroll" tabIndex={0} role="region" aria-label={`Table of ${heads[0]!.toLowerCase()}`}>
        <table class="health-table">
          <thead>
            <tr>
              {heads.map((head) => (
                <th key={head} scope="col">
                  {head}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((cells, index) => (
              <tr key={index}>
                {cells.map((cell, column) => (
                  <td key={column}>{cell}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {nTotal !== undefined && nTotal > rows.length && (
        <p class="hint">
          {formatNumber(rows.length)} of {formatNumber(nTotal)} are shown, those in trouble first.
        </p>
      )}
    </>
  );
}
