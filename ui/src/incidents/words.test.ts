import { expect, it } from "vitest";
import { distinctive, labelText, lasting, severityWord, titleOf } from "./words";

it.each([
  [45, "45 s"],
  [720, "12 min"],
  [3600, "1 h"],
  [12_000, "3 h 20 min"],
  [187_200, "2 d 4 h"],
])("%s seconds last %s", (seconds, text) => expect(lasting(seconds)).toBe(text));

it("names what tells a series apart", () => {
  const own = distinctive({ host: "a", job: "node" }, { job: "node" });
  expect(labelText(own)).toBe("host=a");
});

it("calls an incident by its queries", () => {
  const incident = (queries: string[]) => ({ queries }) as unknown as Parameters<typeof titleOf>[0];
  expect(titleOf(incident([""]))).toBe("Anomalies");
  expect(titleOf(incident(["a", "b"]))).toBe("a, b");
  expect(titleOf(incident(["a", "b", "c", "d", "e"]))).toBe("a, b, c and 2 more");
});

it.each([
  [9, "extreme"],
  [3, "severe"],
  [2, "moderate"],
  [1, "mild"],
  [0.1, "slight"],
])("a severity of %s is %s", (severity, word) => expect(severityWord(severity)).toBe(word));
