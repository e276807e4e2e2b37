"""The whole catalogue: every file that enters something is imported here."""

from __future__ import annotations

from collections.abc import Iterator

from . import (  # noqa: F401 # each fills the lists
    algebra,
    arrays,
    blind,
    callers,
    contract,
    edges,
    elementwise,
    everywhere,
    frameworks,
    kinks,
    masks,
    mistakes,
    modules,
    precision,
    programs,
    raising,
    recurrent,
    selection,
    sequences,
    special,
    tables,
    traps,
)
from .case import CORRECT, KINDS, WRONG, Case

__all__ = ["CORRECT", "KINDS", "WRONG", "slice_of"]


def slice_of(cases: dict[str, Case]) -> Iterator[str]:
    """The first entry of each kind on each route, with large inputs on the first route alone: a look in seconds."""
    seen: set[tuple[str, str, bool]] = set()
    for name, case in cases.items():
        key = (case.kind, "" if case.large else case.route, case.large)
        if key not in seen:
            seen.add(key)
            yield name
