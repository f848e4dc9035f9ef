/** The state of the service in words. */

import type { SchedulerStatus, StageStatus, Status } from "./api";
import { lasting } from "../incidents/words";

export function ago(at: number | null, nowS: number): string {
  if (at === null) return "never";
  const seconds = nowS - at;
  return seconds < 2 ? "just now" : `${lasting(seconds)} ago`;
}

/** Return a size as 256 MiB, 1.4 GiB. */
export function formatSize(bytes: number): string {
  let [size, unit] = [bytes, "B"];
  for (const next of ["KiB", "MiB", "GiB", "TiB"]) {
    if (size < 1024) break;
    [size, unit] = [size / 1024, next];
  }
  return `${Number(size.toFixed(1))} ${unit}`;
}

export function headline({ findings, schedulers }: Status): { kind: "ok" | "warning" | "error"; text: string } {
  const count = (severity: string): number => findings.filter((each) => each.severity === severity).length;
  const [errors, warnings] = [count("error"), count("warning")];
  if (errors > 0) return { kind: "error", text: errors === 1 ? "Something is wrong" : `${errors} things are wrong` };
  if (warnings > 0) {
    return { kind: "warning", text: warnings === 1 ? "One thing needs attention" : `${warnings} things need attention` };
  }
  return { kind: "ok", text: schedulers.length === 0 ? "No scheduler is configured" : "All is well" };
}

export function schedulerState({ alive, last_run }: SchedulerStatus): string {
  if (alive) return last_run === null ? "waits for its first run" : "runs";
  return last_run === null ? "does not run" : "has ended";
}

/** Return such as "12 runs, 2 skipped, 1 failed". */
export function runsText({ n_runs, n_skipped, n_errors }: StageStatus): string {
  const parts = [n_runs === 1 ? "1 run" : `${n_runs.toLocaleString("en-US")} runs`];
  if (n_skipped > 0) parts.push(`${n_skipped.toLocaleString("en-US")} skipped`);
  if (n_errors > 0) parts.push(`${n_errors.toLocaleString("en-US")} failed`);
  return parts.join(", ");
}

const REASONS: Readonly<Record<string, string>> = {
  connection_error: "no connection",
  timeout: "too slow",
  ssl_error: "TLS failed",
  io_error: "file cannot be read",
  too_large: "answer too large",
};

/** Return such as "3 × 401, 2 × no connection". */
export function failuresText(failures: Readonly<Record<string, number>>): string {
  return Object.entries(failures)
    .map(([code, count]) => `${count.toLocaleString("en-US")} × ${REASONS[code] ?? code}`)
    .join(", ");
}

export function secondsText(seconds: number | null): string {
  if (seconds === null) return "—";
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
}
