"""Warnings about the machine, which are told once in a process."""

from __future__ import annotations

import warnings

_told: set[str] = set()


def warn_once(message: str) -> None:
    """Warn, unless the same was said before: also where each warning is shown, or is an error."""
    if message not in _told:
        _told.add(message)
        warnings.warn(message, RuntimeWarning, stacklevel=3)
