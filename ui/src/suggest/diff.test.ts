import { expect, it } from "vitest";
import { diffLines } from "./diff";

const shown = (before: string, after: string): string[] =>
  diffLines(before, after).map(({ kind, text }) => `${{ same: " ", removed: "-", added: "+" }[kind]}${text}`);

it("keeps what is the same and shows what is replaced", () => {
  expect(shown("a\nb\nc\n", "a\nx\nc\nd\n")).toEqual([" a", "-b", "+x", " c", "+d"]);
});

it("has nothing to show between equal texts", () => {
  expect(shown("a\nb\n", "a\nb\n")).toEqual([" a", " b"]);
});

it("adds all to nothing, and removes all from it", () => {
  expect(shown("", "a\nb\n")).toEqual(["+a", "+b"]);
  expect(shown("a\nb\n", "")).toEqual(["-a", "-b"]);
});

it("leads from one text to the other, whatever they are", () => {
  let seed = 7;
  const random = (below: number): number => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % below;
  };
  const text = (): string => Array.from({ length: random(8) }, () => `${"abc"[random(3)]}\n`).join("");
  for (let trial = 0; trial < 300; trial += 1) {
    const [before, after] = [text(), text()];
    const lines = diffLines(before, after);
    const without = (kind: string): string =>
      lines.filter((line) => line.kind !== kind).map((line) => `${line.text}\n`).join("");
    expect(without("added")).toBe(before);
    expect(without("removed")).toBe(after);
  }
});
