"""How many of the names that the packages export have types that a checker knows: python -m tests.type_completeness.

pyright counts them. One attribute without an annotation makes every class and function that mentions it unknown.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LEAST = 0.95


def known(package: str) -> tuple[float, list[str]]:
    """The part of the names whose types are known, and the others."""
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--verifytypes", package]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}  # pyright does not follow an editable install
    done = subprocess.run(
        [*command, "--ignoreexternal", "--outputjson"], env=environment, capture_output=True, text=True, check=False
    )
    report = json.loads(done.stdout)["typeCompleteness"]
    names = [s["name"] for s in report["symbols"] if s["isExported"] and not s["isTypeKnown"]]
    if not sum(report["exportedSymbolCounts"].values()):
        raise RuntimeError(f"pyright does not find {package}: {done.stdout[:500]}")
    return report["completenessScore"], names


def main() -> int:
    good = True
    for package in ("tinygrad_seq", "nn"):
        score, names = known(package)
        print(f"{package}: the types of {score:.1%} of the names are known, {LEAST:.0%} are asked for")
        if score < LEAST:
            good = False
            print("\n".join(names))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
