"""The envelope: trend, calendar patterns, level shifts, residual bounds and forecasts."""
