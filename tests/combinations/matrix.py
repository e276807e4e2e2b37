"""Which features meet, how often, and whether a run that has them is what plain code gives."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from random import Random
from typing import Any, NamedTuple

import tinygrad_seq as tg

from . import zoo
from .feature import Feature
from .functions import FUNCTIONS
from .models import MODELS
from .operations import Operations
from .processes import Distributed
from .steps import STEPS
from .update import KINDS, ByHand, Update
from .world import OF_TEN, WEIGHTS, Weights, World

QUICK = 434  # draws in `make test`: the fewest in which every pair comes up
_ALL: list[type[Feature]] = [*FUNCTIONS, Operations, *MODELS, *STEPS, Distributed]
FEATURES = {feature.name: feature for feature in _ALL}
Pair = tuple[str, str]

# pairs that say the same thing in two ways; they cannot be in one program
APART: dict[frozenset[str], str] = {
    frozenset(pair): "one way to say which steps are there" for pair in combinations(("lengths", "packed", "mask"), 2)
}
# what the library may refuse, by the words of its error
REFUSED: dict[frozenset[str], str] = {
    frozenset({"written in between"}): "was changed in place",
    frozenset({"checkpoint", "re-bound in between"}): "used other tensors",
    frozenset({"distributed", "create_graph"}): "made with create_graph=True, and a mean over all ranks is a constant",
}
REFUSED |= {
    frozenset({"distributed", drawn, lengths}): "each rank would draw another amount"
    for drawn in ("dropout", "zoneout")
    for lengths in ("lengths", "packed", "mask")
}
REFUSED |= {
    frozenset({"distributed", alone, drawn}): "shard() gave this process"
    for alone in ("vmap", "scan")
    for drawn in ("dropout", "zoneout")
}
REFUSED |= {
    frozenset({compiled, *others}): words
    for compiled in ("compiled model", "compiled function")
    for others, words in {
        ("lens",): "in a list, an attribute or a global, which a replay would not do again",
        ("module hooks",): "asks for the numbers in a tensor",
        ("packed",): "pack_padded_sequence packs",
        ("lengths", "dropout"): "goes over all T steps, and",
        ("lengths", "zoneout"): "goes over all T steps, and",
        ("mask", "dropout"): "goes over all T steps, and",
        ("mask", "zoneout"): "goes over all T steps, and",
        (): "a second derivative through the compiled",  # with other parameters than it was called with
    }.items()
}


def pairs() -> list[Pair]:
    """All pairs of features that can meet."""
    return [pair for pair in combinations(FEATURES, 2) if frozenset(pair) not in APART]


PAIRED = {(a, b): frozenset({a, b}) for a in FEATURES for b in FEATURES}


class Case(NamedTuple):
    """Features that meet, in the order in which functions are made of functions, and a seed for all choices."""

    features: tuple[str, ...]
    seed: int

    def refusals(self) -> list[str]:
        """The words with which the library may refuse it."""
        return [words for refused, words in REFUSED.items() if refused <= {*self.features}]


class Outcome(NamedTuple):
    """What a run left behind, or the error in its place, and then whether all was as before."""

    seen: dict[str, Any]
    model: str
    error: Exception | None = None
    untouched: bool = True


def run(case: Case, h: float | None = None, weights: Weights = WEIGHTS) -> Outcome:
    """The training program with these features; or in plain code, with differences of steps h."""
    plain = h is not None
    rng = Random(f"{case.seed}")
    features = [FEATURES[name](Random(f"{case.seed} {name}")) for name in case.features]
    tg.manual_seed(case.seed)
    needs = [feature.needs for feature in features if feature.needs]
    model, words = zoo.build(rng)
    while not all(any(word in f"{words}," for word in some) for some in needs):
        model, words = zoo.build(rng)
    whole = not any(name in ("lengths", "packed", "mask") for name in case.features)
    x, batch = zoo.data(rng, whole=whole, least=2 if "CTC" in words else 1)
    world = World(features, model, x, batch, h, weights)
    kind = rng.choice(KINDS)
    for feature in features:
        feature.plain_prepare(world) if plain else feature.prepare(world)
    world.optimizer = (ByHand if plain else Update)(world, kind)
    for step in range(2):
        try:
            world.step()
        except (RuntimeError, TypeError, ValueError) as error:
            return Outcome(world.notes, words, error, _as_before(case, world))
        if not step:
            for feature in features:
                feature.plain_after(world) if plain else feature.after(world)
    return Outcome(world.seen(), words)


def _as_before(case: Case, world: World) -> bool:
    """Whether the user holds what was there before; a region around a compiled part wrote to a buffer before it ran."""
    names = [name for name in case.features if name in ("no_grad", "compiled function")]
    around = names == ["compiled function", "no_grad"] or {"no_grad", "compiled model"} <= {*case.features}
    own = {"buffers"} if around else set[str]()
    own |= {"gradients"} if {"distributed", "create_graph"} <= {*case.features} else set()  # which had to be there
    return all(value == world.before[name] for name, value in world.holds().items() if name not in own)


TOLERANCE = 1e-6  # of the largest number
OF_FOURTH = 1e-5  # where the best step leaves no more digits of a derivative of fourth order


def difference(got: Any, right: Any, path: str = "", largest: float = 1.0, tolerance: float = TOLERANCE) -> str | None:
    """Where a run differs from what is right, in words; None if it does not. `largest`: of numbers of its kind."""
    if isinstance(right, dict):
        if got.keys() != right.keys():
            return f"{path}has {sorted(got.keys() ^ right.keys())} on one side alone"
        each = (difference(got[k], right[k], f"{path}{k}: ", 1.0, tolerance) for k in right)
        return next((found for found in each if found), None)
    if isinstance(right, (list, tuple)) and isinstance(got, (list, tuple)):
        if len(got) != len(right):
            return f"{path}{len(got)} entries, {len(right)} are right: {got} {right}"
        largest = max([largest, *[abs(v) for v in _numbers(right)]])
        both = zip(got, right, strict=True)
        return next((found for a, b in both if (found := difference(a, b, path, largest, tolerance))), None)
    if isinstance(got, float) and isinstance(right, float):
        fits = (got != got and right != right) or abs(got - right) <= tolerance * largest
        return None if fits else f"{path}{got!r}, {right!r} is right"
    return None if got == right else f"{path}{got!r}, {right!r} is right"


# steps for differences, by the order of derivatives; others where the first is too long for a function, or too short
STEP = {0: 1.0, 1: 5e-4, 2: 2e-3, 3: 2e-3, 4: 1e-2}
OTHERS = (1 / 2, 2, 1 / 4, 4)
LONG = {  # the same for weights of tenth order
    1: (1e-2, 1e-3),
    2: (1e-2, 2e-3, 1e-3, 2e-4),
    3: (2e-2, 1e-2, 4e-3, 2e-3, 1e-3),
    4: (2e-2, 1e-2, 7e-3, 5e-3, 4e-3, 3e-3),
}


def _numbers(nested: Any) -> Iterator[float]:
    """The finite numbers in nested lists."""
    if isinstance(nested, (list, tuple)):
        for part in nested:
            yield from _numbers(part)
    elif isinstance(nested, float) and math.isfinite(nested):
        yield nested


def fault(case: Case) -> str | None:
    """What is wrong where these features meet; None if nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = run(case)
        if any(words in str(got.error) for words in case.refusals()):
            return None if got.untouched else f"{got.model}: refused, but something was changed before"
        if got.error is not None:
            return f"{got.model}: {type(got.error).__name__}: {got.error}"
        order = sum(ORDER.get(name, 0) for name in case.features)
        found: str | None = None
        tries = [(STEP[order] * part, WEIGHTS) for part in ((1, *OTHERS) if order else (1,))]
        for h, weights in [*tries, *[(h, OF_TEN) for h in LONG.get(order, ())]]:
            right = run(case, h, weights)
            if right.error is not None:
                raise right.error
            limit = OF_FOURTH if order > 3 and weights is OF_TEN else TOLERANCE
            new = difference(got.seen, right.seen, tolerance=limit)
            if new is None:
                return None
            found = found or new
    return f"{got.model}: {found}"


ORDER = {"hvp": 2} | dict.fromkeys(("grad", "vjp", "jvp", "jacobian", "grad by parameters", "create_graph"), 1)


def draws(count: int, seed: int) -> Iterator[Case]:
    """Combinations: a pair that came up least often, and to three in four the feature that met both least often."""
    rng = Random(seed)
    drawn: Counter[frozenset[str]] = Counter()
    todo = [frozenset(pair) for pair in pairs()]
    least, rest = 0, list[frozenset[str]]()  # how often all pairs came up, and those that did not come up once more
    for number in range(count):
        while not rest or drawn[rest[-1]] > least:
            if rest:
                rest.pop()
            else:
                least, rest = min(drawn[pair] for pair in todo), rng.sample(todo, len(todo))
        names = sorted(rest.pop())
        if number % 4:
            met = {name: [PAIRED[name, other] for other in names] for name in FEATURES if name not in names}
            met = {name: new for name, new in met.items() if not any(pair in APART for pair in new)}
            fewest = min(sum(drawn[pair] for pair in new) for new in met.values())
            names.append(rng.choice([n for n, new in met.items() if sum(drawn[pair] for pair in new) == fewest]))
        drawn.update(map(frozenset, combinations(names, 2)))
        rng.shuffle(names)
        yield Case(tuple(names), seed * 1_000_003 + number)
