"""What holds for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long an example takes says more about the machine than about the code. The rest is that of
# Hypothesis, also where it would take fewer risks: on a CI server every run tries other examples.
settings.register_profile(
    "vmanomaly",
    settings.get_profile("default"),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("vmanomaly")
