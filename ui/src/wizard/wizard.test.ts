import { describe, expect, it } from "vitest";
import type { KeySchema, ModelSchema } from "../api/service";
import type { Json, ModelSpec } from "../model/spec";
import { draftOf, errorsByField, specOf } from "./draft";
import { type Field, fieldsOf } from "./fields";
import { readTexts, textsOf } from "./text";
import { toYaml } from "./yaml";

const NUMBER: KeySchema = { type: "number" };

const SCHEMA: ModelSchema = {
  title: "m",
  description: "",
  required: ["class", "tuned"],
  "x-online": true,
  "x-multivariate": false,
  "x-forecasts": true,
  properties: {
    class: { type: "string", const: "m" },
    provide_series: { anyOf: [{ type: "array", items: { type: "string" } }, { type: "null" }] },
    scale: { anyOf: [NUMBER, { type: "array", items: NUMBER, minItems: 1, maxItems: 2 }], default: [1, 1] },
    clip_predictions: { type: "boolean", default: false },
    data_range: { anyOf: [{ type: "array", items: {}, maxItems: 2 }, { type: "null" }], default: null },
    detection_direction: {
      anyOf: [{ type: "string", enum: ["both", "above_expected"] }, { type: "null" }],
      default: null,
    },
    decay: { type: "number", default: 1, examples: [1, 0.99], "x-advanced": true },
    n: { type: "integer", default: 16 },
    quantiles: { type: "array", items: NUMBER, minItems: 2, maxItems: 2, default: [0.25, 0.75] },
    seasonalities: { type: "array", items: { type: "string", enum: ["hod", "dow"] }, default: ["hod"] },
    forecast_at: { type: "array", items: { type: "string" }, default: [] },
    contamination: { anyOf: [NUMBER, { type: "string", enum: ["auto"] }], default: "auto", examples: ["auto", 0.01] },
    args: { type: "object", default: {} },
    holidays: {
      type: "object",
      properties: { group: { type: "boolean", default: true }, countries: { type: "array", items: { type: "string" }, default: [] } },
    },
    tuned: { type: "string" },
  },
};

const FIELDS = fieldsOf(SCHEMA);
const field = (key: string): Field => FIELDS.find(({ path }) => path.join(".") === key)!;

describe("fields", () => {
  it("come from the schema, domain knowledge first", () => {
    expect(FIELDS.map(({ path, kind }) => `${path.join(".")} ${kind}`)).toEqual([
      "data_range range",
      "clip_predictions switch",
      "scale pair",
      "detection_direction choice",
      "decay number",
      "n integer",
      "quantiles pair",
      "seasonalities choices",
      "forecast_at list",
      "contamination text",
      "args json",
      "holidays.group switch",
      "holidays.countries list",
      "tuned text",
    ]);
    expect(field("seasonalities").options).toEqual(["hod", "dow"]);
    expect(field("decay").suggestions).toEqual([1, 0.99]);
    expect(field("decay").isAdvanced).toBe(true);
  });
});

describe("values", () => {
  const cases: [string, string[], Json | undefined][] = [
    ["decay", ["0,5"], 0.5],
    ["decay", ["−1e-3"], -0.001],
    ["n", [""], undefined],
    ["scale", ["2", "0,5"], [2, 0.5]],
    ["scale", ["", "3"], [1, 3]],
    ["data_range", ["0", ""], [0, "inf"]],
    ["data_range", ["−∞", "1"], ["-inf", 1]],
    ["forecast_at", ["1h, 1d"], ["1h", "1d"]],
    ["contamination", ["0,01"], 0.01],
    ["contamination", ["auto"], "auto"],
    ["args", ['{"a": [1]}'], { a: [1] }],
    ["holidays.group", ["false"], false],
  ];
  it.each(cases)("%s reads %j", (key, texts, value) => {
    expect(readTexts(field(key), texts)).toEqual({ value });
    const again = textsOf(field(key), value);
    expect(readTexts(field(key), again)).toEqual({ value });
  });

  it.each([
    ["decay", ["much"]],
    ["n", ["1.5"]],
    ["scale", ["1", "x"]],
    ["data_range", ["low", "1"]],
    ["args", ["{a"]],
    ["tuned", [""]],
  ])("%s refuses %j", (key, texts) => {
    expect(readTexts(field(key), texts)).toHaveProperty("error");
  });
});

describe("drafts", () => {
  const spec: ModelSpec = {
    class: "m",
    tuned: "std",
    data_range: [0, 1],
    clip_predictions: true,
    scale: [2, 2],
    holidays: { countries: ["DE"] },
    provide_series: ["y"],
  };

  it("come back as they were, with keys that have no field", () => {
    expect(specOf(FIELDS, draftOf(FIELDS, spec), spec)).toEqual({ spec, errors: {} });
  });

  it("clip to a data range unless told otherwise", () => {
    const bare: ModelSpec = { class: "m", tuned: "std" };
    const draft = draftOf(FIELDS, bare);
    expect(draft.clip_predictions).toEqual(["true"]);
    expect(specOf(FIELDS, draft, bare).spec).toEqual(bare);
    const ranged = { ...draft, data_range: ["0", ""] };
    expect(specOf(FIELDS, ranged, bare).spec).toMatchObject({ data_range: [0, "inf"], clip_predictions: true });
    const off = { ...ranged, clip_predictions: ["false"] };
    expect(specOf(FIELDS, off, bare).spec).not.toHaveProperty("clip_predictions");
    // A spec with a range that is not clipped was meant so.
    expect(draftOf(FIELDS, { ...bare, data_range: [0, 1] }).clip_predictions).toEqual(["false"]);
  });

  it("leave out what has its default", () => {
    const draft = { ...draftOf(FIELDS, spec), scale: ["1", "1"], "holidays.countries": [""], n: ["16"] };
    expect(specOf(FIELDS, draft, spec).spec).toEqual({
      class: "m",
      tuned: "std",
      data_range: [0, 1],
      clip_predictions: true,
      provide_series: ["y"],
    });
  });

  it("name the fields that cannot be read", () => {
    const draft = { ...draftOf(FIELDS, spec), n: ["x"] };
    expect(Object.keys(specOf(FIELDS, draft, spec).errors)).toEqual(["n"]);
  });

  it("sort errors of the service to their fields", () => {
    const detail = [
      { loc: ["quantiles", 1], msg: "too large" },
      { loc: ["holidays", "countries", 0], msg: "unknown" },
      { loc: ["what"], msg: "unknown key" },
    ];
    expect(errorsByField(FIELDS, detail)).toEqual({
      errors: { quantiles: "too large", "holidays.countries": "unknown" },
      others: ["what: unknown key"],
    });
  });
});

it("writes YAML", () => {
  const text = toYaml({
    class: "prophet",
    data_range: [0, "inf"],
    args: { growth: "flat", order: 3, holidays: [{ holiday: "x y" }] },
    empty: {},
    flag: true,
    word: "no",
    window: "1d12h",
  });
  expect(text).toBe(
    'class: prophet\ndata_range: [0, "inf"]\nargs:\n  growth: flat\n  order: 3\n' +
      '  holidays: [{holiday: "x y"}]\nempty: {}\nflag: true\nword: "no"\nwindow: 1d12h\n',
  );
});
