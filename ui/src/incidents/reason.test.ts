import { describe, expect, it } from "vitest";
import { reasonOf } from "./reason";

const timestamps = [0, 60, 120, 180];

describe("the reason of an incident", () => {
  it.each([
    [{ anomaly_score: [9, 2, 3, 9] }, "The highest anomaly_score is 3."],
    [
      { anomaly_score: [0, 0.5, 0.4, 0], flatline_score: [0, 2, 4.123, 9], drift_score: [0, 1.5, 0, 0] },
      "The value has not moved for unusually long: flatline_score up to 4.12.",
    ],
    [
      { anomaly_score: [0, 0.5, 1.2, 0], drift_score: [0, 1.5, 2, 0], drift: [0, -3, -5, -9] },
      "The level has drifted unusually far, by up to 5: drift_score up to 2.",
    ],
    [{ drift_score: [0, null, 2, 0] }, "The level has drifted unusually far: drift_score up to 2."],
    // A score that is usual is no reason.
    [
      { anomaly_score: [0, 0.9, 0.9, 0], flatline_score: [0, 1, 1, 0], incident_score: [0, 1.2, 1.1, 0] },
      "Values were near the bounds for unusually long: incident_score up to 1.2.",
    ],
    [{ anomaly_score: [9, 0.5, null, 9] }, ""],
    [{}, ""],
  ])("%j", (outputs, reason) => expect(reasonOf({ timestamps, outputs }, 60, 120)).toBe(reason));
});
