"""What our checker says of every entry, and how that is counted; a module of its own, which worker processes import."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ..timing import table
from .case import Case
from .catalogue import CORRECT, KINDS, WRONG
from .checkers import ours
from .routes import ROUTES


class Finding(NamedTuple):
    """What our checker said of one entry."""

    name: str
    seed: int
    verdict: str

    @property
    def of_wrong(self) -> bool:
        return self.name in WRONG

    @property
    def case(self) -> Case:
        return WRONG[self.name] if self.of_wrong else CORRECT[self.name]

    @property
    def is_right(self) -> bool:
        """Whether the checker did what it should: nothing is said of an entry that it calls not tested."""
        return self.verdict == "fail" if self.of_wrong else self.verdict in ("pass", "not tested")


def judged(seed: int) -> list[Finding]:
    """Every entry at one draw."""
    np.seterr(all="ignore")
    return [
        Finding(name, seed, ours(case, case.draw(np.random.default_rng(seed)), seed))
        for cases in (WRONG, CORRECT)
        for name, case in cases.items()
    ]


def score(findings: Iterable[Finding]) -> str:
    """Mistakes found of those planted, right ones accused of all right ones."""
    wrong: list[bool] = []
    right: list[bool] = []
    for one in findings:
        (wrong if one.of_wrong else right).append(one.is_right)
    parts = [
        f"{sum(wrong)}/{len(wrong)}" if wrong else "-",
        f"{len(right) - sum(right)}/{len(right)}" if right else "-",
    ]
    return "" if not wrong and not right else ", ".join(parts)


def by_kind_and_route(findings: list[Finding], large: bool) -> str:
    rows = [("", *ROUTES)]
    for kind in KINDS:
        of_kind = [one for one in findings if one.case.kind == kind and one.case.large == large]
        if of_kind:
            rows.append((kind, *[score(one for one in of_kind if one.case.route == route) for route in ROUTES]))
    return table(rows)
