import { expect, it } from "vitest";
import type { Status } from "./api";
import { ago, failuresText, formatSize, headline, runsText, schedulerState, secondsText } from "./words";

const status = (...severities: string[]): Status =>
  ({ findings: severities.map((severity) => ({ severity })), schedulers: [{}] }) as unknown as Status;

it("says how long ago something was", () => {
  expect([ago(null, 100), ago(99, 100), ago(40, 100)]).toEqual(["never", "just now", "1 min ago"]);
});

it.each([
  [0, "0 B"],
  [1536, "1.5 KiB"],
  [3 * 2 ** 30, "3 GiB"],
])("%s bytes are %s", (bytes, text) => expect(formatSize(bytes)).toBe(text));

it("puts the worst first", () => {
  expect(headline(status("warning", "error")).text).toBe("Something is wrong");
  expect(headline(status("error", "error")).text).toBe("2 things are wrong");
  expect(headline(status("warning")).kind).toBe("warning");
  expect(headline(status()).text).toBe("All is well");
});

it("counts runs", () => {
  const stage = { n_runs: 1, n_skipped: 2, n_errors: 1200, last_run: null, mean_duration_s: null };
  expect(runsText(stage)).toBe("1 run, 2 skipped, 1,200 failed");
});

it("names failures", () => {
  expect(failuresText({ 401: 3, connection_error: 2 })).toBe("3 × 401, 2 × no connection");
});

it("tells a scheduler that has ended from one that never ran", () => {
  const scheduler = { alias: "s", class_name: "oneoff", n_restarts: 0 };
  expect(schedulerState({ ...scheduler, alive: false, last_run: 5 })).toBe("has ended");
  expect(schedulerState({ ...scheduler, alive: false, last_run: null })).toBe("does not run");
  expect(schedulerState({ ...scheduler, alive: true, last_run: 5 })).toBe("runs");
});

it("writes short times in milliseconds", () => {
  expect([secondsText(0.0123), secondsText(2.34), secondsText(null)]).toEqual(["12 ms", "2.3 s", "—"]);
});
