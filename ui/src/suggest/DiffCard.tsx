import { titleOfClass } from "../model/titles";
import { toYaml } from "../wizard/yaml";
import { diffLines } from "./diff";
import type { Proposal } from "./proposal";
import type { Present } from "./run";

interface Props {
  title: string;
  present: Present;
  proposal: Proposal;
  onApply: () => void;
  onDecline: () => void;
}

const MARKS = { same: " ", removed: "−", added: "+" } as const;
const NAMES = { same: "", removed: "removed: ", added: "added: " } as const;

/** A proposal: why, what would change, and whether it shall. */
export function DiffCard({ title, present, proposal, onApply, onDecline }: Props) {
  const lines = diffLines(written(present), written(proposal));
  const isSame = lines.every(({ kind }) => kind === "same");
  return (
    <section class="diff-card" aria-label={title}>
      <h4>
        {title}: {titleOfClass(proposal.spec.class)}
      </h4>
      <ul class="reasons">
        {proposal.reasons.map((reason) => (
          <li key={reason}>{reason}</li>
        ))}
      </ul>
      {isSame ? (
        <p class="hint">That is what the page has already.</p>
      ) : (
        <>
          {/* A region that scrolls has to be reachable by keyboard. */}
          <div class="diff" role="group" tabIndex={0} aria-label="Changes">
            {lines.map(({ kind, text }, index) => (
              <div key={index} class={`diff-line ${kind}`}>
                <span aria-hidden="true">{MARKS[kind]} </span>
                <span class="off-screen">{NAMES[kind]}</span>
                {text}
              </div>
            ))}
          </div>
          <div class="row end">
            <button type="button" class="button" onClick={onDecline}>
              Decline
            </button>
            <button type="button" class="button primary" onClick={onApply}>
              Apply
            </button>
          </div>
        </>
      )}
    </section>
  );
}

function written({ spec, fitWindow }: Present): string {
  return toYaml({ model: spec, scheduler: { fit_window: fitWindow } });
}
