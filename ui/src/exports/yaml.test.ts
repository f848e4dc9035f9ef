import { expect, it } from "vitest";
import { modelPart } from "./yaml";

it("takes the models out of a configuration", () => {
  const models = "models:\n  model:\n    class: std\n    queries:\n      - query\n";
  expect(modelPart(`schedulers:\n  a: {}\n${models}reader:\n  class: vm\n`)).toBe(models);
  expect(modelPart(models)).toBe(models);
});
