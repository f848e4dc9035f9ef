import { describe, expect, it } from "vitest";
import { smallPlot } from "./smallPlot";

describe("small plots", () => {
  it("draws values, the expected range and what is anomalous", () => {
    const plot = smallPlot(
      {
        timestamps: [0, 10, 20],
        outputs: {
          y: [0, 10, null],
          yhat: [0, 0, 0],
          yhat_lower: [0, 0, null],
          yhat_upper: [5, 5, null],
          anomaly_score: [0, 2, null],
        },
      },
      1,
      100,
      10,
    );
    expect([plot.low, plot.high]).toEqual([0, 10]);
    expect(plot.y).toBe("M0 10L50 0");
    expect(plot.expected).toBe("M0 10L50 10L100 10");
    expect(plot.band).toBe("M0 5L50 5L50 10L0 10Z");
    expect(plot.anomalies).toBe("M50 0h0");
  });

  it("does not let distant bounds flatten the values", () => {
    const { high } = smallPlot(
      { timestamps: [0, 1], outputs: { y: [0, 1], yhat_lower: [0, 0], yhat_upper: [1e9, 1e9] } },
      1,
      10,
      10,
    );
    expect(high).toBe(2.5);
  });

  it("shows the score where nothing else was written", () => {
    const plot = smallPlot({ timestamps: [0, 1], outputs: { anomaly_score: [0, 2] } }, 1, 10, 10);
    expect(plot.y).toBe("M0 10L10 0");
  });

  it("is empty without data", () => {
    expect(smallPlot({ timestamps: [], outputs: {} }, 1, 10, 10).y).toBe("");
  });
});
