"""t-digests: quantiles of many series in little memory."""
