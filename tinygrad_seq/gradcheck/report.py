"""What a check found: for people as text, for programs as a dictionary."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

SHOWN = 5  # wrong entries on screen, per input


@dataclass
class Entry:
    """One element whose gradient is wrong.

    Attributes:
        index: where, in the input.
        analytic: what the function says.
        numeric: what its values say, give or take `error`.
        place: time step and gate, where that applies.
    """

    index: tuple[int, ...]
    analytic: float
    numeric: float
    error: float
    place: str = ""

    def __str__(self) -> str:
        ratio = f", ratio {self.analytic / self.numeric:.6g}" if self.numeric else ""
        return (
            f"at index {list(self.index)}{self.place}: analytic {self.analytic:.10g}, numeric {self.numeric:.10g} "
            f"± {self.error:.1e}{ratio}"
        )


@dataclass
class InputReport:
    """What was found of one input or parameter.

    Attributes:
        verdict: "pass", "fail" or "not tested": no entry has a gradient that stands out of the noise.
        entries: how many there are.
        tested: how many of them have a gradient that stands out of the noise.
        zero: how many have gradient 0, in value and by the rule: dead, saturated, or not used.
        below_noise: how many have a gradient that drowns in rounding: saturated, mostly.
        kinks: at how many there is a kink, where any gradient of points arbitrarily near is right, or a mean of such.
        undecided: of how many nothing can be said: infinite ones, and where the function has no value at any step.
        how: "every entry" or "random directions", by "complex step" or "central differences".
        agreement: how far the complex step and differences are apart along a direction, as a part of the derivative;
            None where only one of them could speak.
        wrong: the wrong entries; in directions the first that were found.
        problems: what else is wrong, in words.
        guess: what the pattern of the wrong entries looks like; empty if like nothing known.
        notes: what is worth knowing and not wrong.
    """

    name: str
    shape: tuple[int, ...]
    verdict: str = "pass"
    entries: int = 0
    tested: int = 0
    zero: int = 0
    below_noise: int = 0
    kinks: int = 0
    undecided: int = 0
    how: str = ""
    agreement: float | None = None
    wrong: list[Entry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    guess: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass
class Report:
    """The result of `gradcheck`. True if the check passed.

    Attributes:
        order: 1, or 2 for the gradient of the gradient.
        inputs: what was found of each input and parameter.
        problems: what is wrong with the function as a whole, in words.
        notes: what is worth knowing and not wrong.
    """

    order: int
    inputs: list[InputReport] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """One word: "fail" if anything is wrong, "not tested" if nothing was tested, else "pass"."""
        verdicts = [i.verdict for i in self.inputs]
        if self.problems or "fail" in verdicts:
            return "fail"
        return "pass" if "pass" in verdicts else "not tested"

    def __bool__(self) -> bool:
        return self.verdict == "pass"

    def to_dict(self) -> dict[str, Any]:
        """All of it as dictionaries, lists, strings and numbers."""
        return {"verdict": self.verdict, **asdict(self)}

    def __str__(self) -> str:
        title = "gradcheck" if self.order == 1 else "gradgradcheck"
        lines = [f"{title}: {self.verdict}", *[f"  {problem}" for problem in self.problems]]
        width = max([len(i.name) for i in self.inputs], default=0)
        for i in self.inputs:
            parts = (
                (i.zero, "zero"),
                (i.below_noise, "below the noise"),
                (i.kinks, "at kinks"),
                (i.undecided, "undecided"),
            )
            count = f"{i.tested} of {i.entries} tested" if i.entries else "no entries"
            seconded = "" if i.agreement is None else f"differences agree to {i.agreement:.0e}"
            details = [count, *[f"{n} {what}" for n, what in parts if n], i.how, seconded]
            lines.append(f"  {i.name:{width}}  {i.verdict:10}  shape {i.shape}: {', '.join(d for d in details if d)}")
            lines += [f"    {problem}" for problem in i.problems]
            lines += [f"    {i.name}, shape {i.shape}, {entry}" for entry in i.wrong[:SHOWN]]
            if len(i.wrong) > SHOWN:
                lines.append(f"    ... {len(i.wrong)} wrong entries in all")
            if i.guess:
                lines.append(f"    it looks like {i.guess}")
            lines += [f"    note: {note}" for note in i.notes]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


class GradcheckError(AssertionError):
    """A gradient is wrong.

    Attributes:
        report: what was found, for programs.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


class NotTestedWarning(UserWarning):
    """A check that could not have found anything: all gradients are zero, or below the rounding noise."""
