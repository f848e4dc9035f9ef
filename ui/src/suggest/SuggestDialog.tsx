import { useEffect, useId, useRef, useState } from "preact/hooks";
import { isSecondClick } from "../components/click";
import { Dialog } from "../components/Dialog";
import { useInView } from "../components/inView";
import { Notice } from "../components/Notice";
import { titleOfClass } from "../model/titles";
import { draft } from "../query/run";
import { commit, page, step } from "../state/page";
import { modelClasses } from "../state/server";
import { DiffCard } from "./DiffCard";
import { possibleHistories, titleOfHistory } from "./history";
import type { Proposal } from "./proposal";
import { failureOf, look, type Looked, type Present, stepMs, tune } from "./run";
import "./suggest.css";

/** What cannot be tuned. */
const NOT_TUNED: ReadonlySet<string> = new Set(["auto", "custom"]);

/** Proposes a model for the query: from what its series are like, and by a search. */
export function SuggestDialog({ onClose }: { onClose: () => void }) {
  const query = draft.value;
  // Proposals are changes of what the page had when they were asked for.
  const [present] = useState<Present>(() => ({ spec: page.value.model, fitWindow: page.value.fitWindow }));
  const [historyMs, setHistoryMs] = useState<number | null>(null);
  const [looked, setLooked] = useState<Looked | null>(null);
  const [error, setError] = useState("");
  const [isDeclined, setDeclined] = useState(false);

  useEffect(() => {
    const mine = new AbortController();
    setLooked(null);
    setError("");
    setDeclined(false);
    look(query, present, historyMs, mine.signal).then(setLooked, (problem: unknown) =>
      setError(failureOf(problem, mine.signal)),
    );
    return () => mine.abort();
  }, [historyMs]);

  const apply = ({ spec, fitWindow }: Proposal): void => {
    commit({ model: spec, fitWindow });
    onClose();
  };
  const proposal = looked?.proposal ?? null;

  return (
    <Dialog title="Suggest a model" isWide onClose={onClose}>
      <section class="suggest-part" aria-labelledby="suggest-look">
        <h3 id="suggest-look">From the data</h3>
        <div class="row wrap">
          <code class="suggest-query">{query}</code>
          <span class="hint">with the step {step.value}</span>
          <span class="spacer" />
          <label class="row">
            History
            <select
              class="input"
              value={historyMs ?? ""}
              onChange={(event) => setHistoryMs(Number(event.currentTarget.value) || null)}
            >
              <option value="">
                {looked !== null && historyMs === null ? `longest there is (${titleOfHistory(looked.historyMs)})` : "longest there is"}
              </option>
              {possibleHistories(stepMs()).map((length) => (
                <option key={length} value={length}>
                  {titleOfHistory(length)}
                </option>
              ))}
            </select>
          </label>
        </div>
        {error !== "" ? (
          <Notice kind="error" title="The series cannot be looked at">
            {error}
          </Notice>
        ) : looked === null ? (
          <p class="hint" role="status">
            Looking at the series…
          </p>
        ) : proposal === null ? (
          <Notice kind="warning" title="There is nothing to suggest">
            {tooLittle(looked)}
          </Notice>
        ) : isDeclined ? (
          <p class="hint" role="status">
            Declined; nothing has changed.
          </p>
        ) : (
          <DiffCard
            title="Suggestion"
            present={present}
            proposal={proposal}
            onApply={() => apply(proposal)}
            onDecline={() => setDeclined(true)}
          />
        )}
      </section>
      {looked !== null && proposal !== null && (
        <Tuning
          query={query}
          present={present}
          historyMs={looked.historyMs}
          suggested={proposal.spec.class}
          onApply={apply}
        />
      )}
    </Dialog>
  );
}

function tooLittle({ found, historyMs }: Looked): string {
  const length = titleOfHistory(historyMs);
  return found.series_count === 0
    ? `The query matched no series in the ${length} before the end of the time range. Check the query, the time range and the datasource.`
    : `None of ${found.series_count} series has values at half of the points of ${length} or more. Choose a shorter history or a larger step.`;
}

type TuningState =
  | { readonly status: "idle" | "canceled" | "declined" }
  | { readonly status: "running"; readonly progress: number; readonly message: string }
  | { readonly status: "error"; readonly message: string }
  | { readonly status: "done"; readonly proposal: Proposal };

function Tuning(props: {
  query: string;
  present: Present;
  historyMs: number;
  suggested: string;
  onApply: (proposal: Proposal) => void;
}) {
  const { query, present, historyMs, suggested, onApply } = props;
  const [className, setClassName] = useState(suggested);
  const [percent, setPercent] = useState("1");
  const [seconds, setSeconds] = useState("60");
  const [problem, setProblem] = useState("");
  const [state, setState] = useState<TuningState>({ status: "idle" });
  const running = useRef<AbortController | null>(null);
  const outcome = useRef<HTMLDivElement>(null);
  useInView(outcome, state.status);
  const id = useId();

  const cancel = (): void => running.current?.abort();
  useEffect(() => cancel, []);

  const start = (): void => {
    const share = readNumber(percent) / 100;
    const timeoutS = readNumber(seconds);
    if (!(share >= 0 && share < 0.5)) return setProblem("Write a share of anomalies from 0 to below 50 %.");
    if (!(timeoutS >= 1)) return setProblem("Write a time of at least 1 second.");
    setProblem("");
    const mine = (running.current = new AbortController());
    setState({ status: "running", progress: 0, message: "starting" });
    tune(
      { query, className, historyMs, anomalyShare: share, timeoutS },
      present,
      (progress, message) => !mine.signal.aborted && setState({ status: "running", progress, message }),
      mine.signal,
    ).then(
      (proposal) => !mine.signal.aborted && setState({ status: "done", proposal }),
      (error: unknown) => {
        const message = failureOf(error, mine.signal);
        setState(message === "" ? { status: "canceled" } : { status: "error", message });
      },
    );
  };
  const isRunning = state.status === "running";

  return (
    <section class="suggest-part" aria-labelledby="suggest-tune">
      <h3 id="suggest-tune">By tuning</h3>
      <p class="hint">
        Fits the class with many settings to {titleOfHistory(historyMs)} of history and keeps what predicts best
        and finds no more anomalies than expected. Domain knowledge stays as it is.
      </p>
      <form
        class="row wrap suggest-form"
        onSubmit={(event) => {
          event.preventDefault();
          if (isRunning) cancel();
          else start();
        }}
      >
        <label>
          Class
          <select
            class="input"
            value={className}
            disabled={isRunning}
            onChange={(event) => setClassName(event.currentTarget.value)}
          >
            {modelClasses.value
              .filter((name) => !NOT_TUNED.has(name))
              .map((name) => (
                <option key={name} value={name}>
                  {titleOfClass(name)}
                </option>
              ))}
          </select>
        </label>
        <label>
          Expected anomalies, %
          <input
            class="input"
            inputMode="decimal"
            value={percent}
            disabled={isRunning}
            aria-describedby={`${id}-problem`}
            onInput={(event) => setPercent(event.currentTarget.value)}
          />
        </label>
        <label>
          Time, in seconds
          <input
            class="input"
            inputMode="decimal"
            value={seconds}
            disabled={isRunning}
            aria-describedby={`${id}-problem`}
            onInput={(event) => setSeconds(event.currentTarget.value)}
          />
        </label>
        <button
          type="submit"
          class={`button ${isRunning ? "" : "primary"}`}
          onClick={(event) => isSecondClick(event) && event.preventDefault()}
        >
          {isRunning ? "Cancel" : "Tune"}
        </button>
      </form>
      <p id={`${id}-problem`} class="field-error" role="alert">
        {problem}
      </p>
      <div ref={outcome}>
        <TuningOutcome
          state={state}
          present={present}
          onApply={onApply}
          onDecline={() => setState({ status: "declined" })}
        />
      </div>
    </section>
  );
}

function TuningOutcome(props: {
  state: TuningState;
  present: Present;
  onApply: (proposal: Proposal) => void;
  onDecline: () => void;
}) {
  const { state, present, onApply, onDecline } = props;
  switch (state.status) {
    case "idle":
      return null;
    case "running":
      return (
        <p class="progress" role="status">
          <progress value={state.progress} max={100} aria-label="Progress of tuning" />
          {state.progress}% · {state.message}
        </p>
      );
    case "error":
      return (
        <Notice kind="error" title="Tuning failed">
          {state.message}
        </Notice>
      );
    case "done":
      return (
        <DiffCard
          title="Tuned"
          present={present}
          proposal={state.proposal}
          onApply={() => onApply(state.proposal)}
          onDecline={onDecline}
        />
      );
    default:
      return (
        <p class="hint" role="status">
          {state.status === "canceled" ? "Tuning was canceled." : "Declined; nothing has changed."}
        </p>
      );
  }
}

function readNumber(text: string): number {
  const given = text.trim().replace(",", ".");
  return given === "" ? Number.NaN : Number(given);
}
