import { describe, expect, it } from "vitest";
import { parseFilter } from "./filter";

const row = {
  labels: { __name__: "cpu", host: "web-1", mode: "idle, or not", kind: "salt and pepper" },
  numbers: { anomalies: 3, min: -1.5, max: null },
};

describe("parseFilter", () => {
  it.each([
    ["", true],
    ["anomalies > 0", true],
    ["anomalies>3", false],
    ["anomalies >= 3, min < 0", true],
    ["anomalies > 0 and min > 0", false],
    ["max > 0", false],
    ['host="web-1"', true],
    ["host=web-2", false],
    ["host!=web-2", true],
    ["host=~web-.*", true],
    ["host!~web-.*", false],
    ["host=~web-(", false],
    ['mode="idle, or not"', true],
    ['kind="salt and pepper" and min < 0', true],
    ["WEB", true],
    ["host=w, nope", false],
    ["nothing=", true],
  ])("%s", (text, expected) => expect(parseFilter(text)(row)).toBe(expected));
});
