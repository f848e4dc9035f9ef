"""`vmanomaly demo`: the ordinary service on telemetry whose incidents are known.

`incidents` says what is planted, `telemetry` makes the series, `store` puts them into DuckDB,
`scores` reads back what the service wrote, `evaluate` compares it with the truth, `report` draws
it, and `command` runs all of that.
"""
