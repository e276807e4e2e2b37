"""How many random examples tests take: Hypothesis profiles, `default`, `quick` and `deep`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_COUNTS = {"quick": 4, "default": 50, "deep": 300}
_NAME = os.environ.get("HYPOTHESIS_PROFILE", "default")
DEEP: bool = _NAME == "deep"  # other examples at each run, in about an hour on two cores
_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]

for _name, _count in _COUNTS.items():
    settings.register_profile(
        _name, max_examples=_count, deadline=None, derandomize=_name != "deep", suppress_health_check=_SLOW
    )


def load() -> None:
    """From now on tests take as many examples as `HYPOTHESIS_PROFILE` says."""
    settings.load_profile(_NAME)


def examples() -> int:
    """The examples of a test that draws them itself."""
    return _COUNTS[_NAME]


def one_in(n: int) -> settings:
    """For tests whose examples take long: one n-th of the profile's examples."""
    return settings(settings.get_profile(_NAME), max_examples=max(_COUNTS[_NAME] // n, 1))
