import { describe, expect, it } from "vitest";
import { readIncidentsState, requestOf, writeIncidentsState } from "./state";

const read = (text: string) => readIncidentsState(new URLSearchParams(text));

describe("the state of the tab", () => {
  it.each([
    "",
    "since=7d",
    "order=severest",
    "from=1750000000&to=1750003600&threshold=2.5",
    "preset=default&scheduler_alias=live&model_alias=m&query=cpu&label=host%3Da&label=job%3Dx%3Dy",
  ])("comes back from %s", (text) => {
    expect(writeIncidentsState(read(text)).toString()).toBe(text);
  });

  it("has defaults for what cannot be read", () => {
    expect(read("since=soon&from=5&to=4&threshold=x&label=host&query=")).toEqual(read(""));
  });

  it("asks for a window instead of a span", () => {
    expect(requestOf(read("since=7d&from=10&to=20")).toString()).toBe("threshold=1&start=10&end=20");
    expect(requestOf(read("query=cpu&label=host%3Da")).toString()).toBe(
      "threshold=1&since=1d&query=cpu&label=host%3Da",
    );
  });
});
