"""Prophet: trend with changepoints, seasons and holidays."""
