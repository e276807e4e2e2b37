"""The deep run: `python -m tests.combinations --count 20000 --seed 0`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from itertools import combinations

from . import matrix


def main() -> int:
    """Draw combinations, say what is wrong, and print how often each pair came up."""
    parser = argparse.ArgumentParser(prog="python -m tests.combinations", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", default="1/1", help="k/n: every n-th combination, from the k-th on")
    parser.add_argument("--only", nargs="*", default=[], help="features that each combination must have")
    options = parser.parse_args()
    part, parts = map(int, options.part.split("/"))
    times: Counter[matrix.Pair] = Counter()
    faults: Counter[str] = Counter()
    for number, case in enumerate(matrix.draws(options.count, options.seed)):
        if number % parts != part - 1 or not {*options.only} <= {*case.features}:
            continue
        times.update(combinations([name for name in matrix.FEATURES if name in case.features], 2))
        try:
            wrong = matrix.fault(case)
        except Exception as error:  # in the matrix itself, or no error in words
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            faults[" + ".join(sorted(case.features))] += 1
            print(f"{case}\n    {wrong[:400]}", flush=True)
    print("\nHow often each pair came up:")
    for pair in matrix.pairs():
        print(f"{times[pair]:6}  {pair[0]} + {pair[1]}")
    print(f"{sum(faults.values())} faults; the rarest pair came up {min(times[pair] for pair in matrix.pairs())} times")
    return 1 if faults else 0


sys.exit(main())
