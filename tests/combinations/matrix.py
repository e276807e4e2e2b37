"""Which features meet, how often, and whether a run that has them is what plain code gives."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from random import Random
from typing import Any, NamedTuple

import tinygrad_seq as tg

from . import zoo
from .feature import Feature
from .functions import FUNCTIONS
from .models import MODELS
from .steps import STEPS
from .update import KINDS, ByHand, Update
from .world import World

FEATURES: dict[str, type[Feature]] = {feature.name: feature for feature in [*FUNCTIONS, *MODELS, *STEPS]}
Pair = tuple[str, str]

# pairs that say the same thing in two ways; they cannot be in one program
APART: dict[frozenset[str], str] = {
    frozenset(pair): "one way to say which steps are there" for pair in combinations(("lengths", "packed", "mask"), 2)
}
# what the library refuses, by the words of its error
REFUSED: dict[frozenset[str], str] = {
    frozenset({"written in between"}): "was changed in place",
    frozenset({"checkpoint", "re-bound in between"}): "used other tensors",
}


def pairs() -> list[Pair]:
    """All pairs of features that can meet."""
    return [pair for pair in combinations(FEATURES, 2) if frozenset(pair) not in APART]


class Case(NamedTuple):
    """Features that meet, in the order in which functions are made of functions, and a seed for all choices."""

    features: tuple[str, ...]
    seed: int

    def refusal(self) -> str | None:
        """The words with which the library refuses it, if it does."""
        return next((words for refused, words in REFUSED.items() if refused <= {*self.features}), None)


class Outcome(NamedTuple):
    """What a run left behind, or the error in its place, and then whether all was as before."""

    seen: dict[str, Any]
    model: str
    error: Exception | None = None
    untouched: bool = True


def run(case: Case, plain: bool) -> Outcome:
    """The training program with these features, or in plain code."""
    rng = Random(f"{case.seed}")
    features = [FEATURES[name](Random(f"{case.seed} {name}")) for name in case.features]
    tg.manual_seed(case.seed)
    needs = [feature.needs for feature in features if feature.needs]
    model, words = zoo.build(rng)
    while not all(any(word in f"{words}," for word in some) for some in needs):
        model, words = zoo.build(rng)
    whole = not any(name in ("lengths", "packed", "mask") for name in case.features)
    x, batch = zoo.data(rng, whole=whole, least=2 if "CTC" in words else 1)
    world = World(features, model, x, batch, plain)
    kind = rng.choice(KINDS)
    for feature in features:
        feature.plain_prepare(world) if plain else feature.prepare(world)
    world.optimizer = (ByHand if plain else Update)(world, kind)
    for step in range(2):
        try:
            world.step()
        except (RuntimeError, TypeError, ValueError) as error:
            return Outcome(world.notes, words, error, world.holds() == world.before)
        if not step:
            for feature in features:
                feature.plain_after(world) if plain else feature.after(world)
    return Outcome(world.seen(), words)


def difference(a: Any, b: Any, path: str = "", largest: float = 1.0) -> str | None:
    """Where two runs differ, in words; None if they do not."""
    if isinstance(b, dict):
        if a.keys() != b.keys():
            return f"{path}: has {sorted(a.keys() ^ b.keys())} on one side alone"
        return next((d for d in (difference(a[k], b[k], f"{path}{k}: ") for k in b) if d), None)
    if isinstance(b, (list, tuple)) and isinstance(a, (list, tuple)):
        if len(a) != len(b):
            return f"{path}{len(a)} entries, {len(b)} are right: {a} {b}"
        largest = max([largest, *[abs(v) for v in numbers(b)]])
        return next((d for d in (difference(x, y, path, largest) for x, y in zip(a, b, strict=True)) if d), None)
    if isinstance(a, float) and isinstance(b, float):
        close = math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE * largest)
        return None if close or (a != a and b != b) else f"{path}{a!r}, {b!r} is right"
    return None if a == b else f"{path}{a!r}, {b!r} is right"


TOLERANCE = 1e-6  # what differences of differences have


def numbers(nested: Any) -> Iterator[float]:
    """The finite numbers in nested lists."""
    if isinstance(nested, (list, tuple)):
        for part in nested:
            yield from numbers(part)
    elif isinstance(nested, float) and math.isfinite(nested):
        yield nested


def fault(case: Case) -> str | None:
    """What is wrong where these features meet; None if nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = run(case, plain=False)
        refusal = case.refusal()
        if refusal is not None:
            if got.error is None or refusal not in str(got.error):
                return f"{got.model}: not refused ({refusal!r}), but {got.error!r}"
            return None if got.untouched else f"{got.model}: refused, but something was changed before"
        if got.error is not None:
            return f"{got.model}: {type(got.error).__name__}: {got.error}"
        right = run(case, plain=True)
        if right.error is not None:
            raise right.error
    # notes of a second sweep, which a derivative of a derivative takes, are its own
    skipped = {name for name in got.seen if "hook of" in name or name in ("tensor hook",)} if (
        "create_graph" in case.features
    ) else set()
    found = difference(
        {k: v for k, v in got.seen.items() if k not in skipped}, {k: v for k, v in right.seen.items() if k not in skipped}
    )
    return None if found is None else f"{got.model}: {found}"


def draws(count: int, seed: int, sizes: Sequence[int] = (2, 3, 3)) -> Iterator[Case]:
    """Combinations of two or three features: the pair that came up least often, and some feature more."""
    rng = Random(seed)
    drawn: Counter[Pair] = Counter()
    todo = pairs()
    for number in range(count):
        least = min(drawn[pair] for pair in todo)
        pair = rng.choice([pair for pair in todo if drawn[pair] == least])
        names = [*pair]
        while len(names) < sizes[number % len(sizes)]:
            name = rng.choice([*FEATURES])
            if name not in names and not any(frozenset({name, other}) in APART for other in names):
                names.append(name)
        for found in combinations([name for name in FEATURES if name in names], 2):
            drawn[found] += 1
        rng.shuffle(names)
        yield Case(tuple(names), seed * 1_000_003 + number)
