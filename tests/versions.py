"""The tests on each Python that is here, with the oldest and the newest dependencies: python -m tests.versions.

What the oldest are is read in pyproject.toml. For other systems pip says whether there are wheels for all of them.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
EXTRAS = ("io", "jit", "examples")
FIRST_NUMPY = {"3.13": "2.1.0", "3.14": "2.3.2"}  # with wheels for it, on each system
FIRST = {
    "llvmlite": {"3.14": "0.46.0"},
    "matplotlib": {"3.13": "3.9.2", "3.14": "3.10.5"},
    "safetensors": {"3.12": "0.4.2", "3.13": "0.5.0", "3.14": "0.5.0"},
}
ELSEWHERE = {  # systems, and what wheels for them are called: pip asks for these names alone
    "macOS arm64": ("macosx_12_0_arm64",),
    "Windows": ("win_amd64",),
    "Linux arm64": ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64"),
}


def dependencies() -> list[str]:
    """What the package and these extras take."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *(x for extra in EXTRAS for x in project["optional-dependencies"][extra])]


def floors(python: str) -> list[str]:
    """The oldest dependencies that pyproject.toml allows, as pip's constraints."""
    found = {}
    for line in dependencies():
        name, _, version = line.partition(">=")
        found[name] = FIRST.get(name, {}).get(python, version)
    found["numpy"] = FIRST_NUMPY.get(python, "2.0.0")
    return [f"{name}=={version}" for name, version in found.items()]


def interpreter(python: str) -> str | None:
    """Where a Python is: one of pyenv's, whose commands on the path may be of versions that are off; or on the path."""
    known = sorted(Path.home().glob(f".pyenv/versions/{python}.*/bin/python"))
    return str(known[-1]) if known else shutil.which(f"python{python}")


def tried(python: str, where: str, oldest: bool, tests: list[str]) -> bool:
    """Whether the tests pass in an environment of their own."""
    name = f"{python}, {'oldest' if oldest else 'newest'}"
    home = ROOT / "build" / "versions" / re.sub(r"\W+", "-", name)
    subprocess.run([where, "-m", "venv", "--clear", str(home)], check=True)
    run = str(home / ("Scripts" if os.name == "nt" else "bin") / "python")
    install = [run, "-m", "pip", "install", "-q", f"{ROOT}[{','.join(EXTRAS)}]", "pytest>=8", "hypothesis>=6.100"]
    if oldest:
        limits = home / "constraints.txt"
        limits.write_text("\n".join(floors(python)))
        install += ["--constraint", str(limits)]
    if subprocess.run(install, check=False).returncode:
        print(f"{name}: cannot be installed")
        return False
    environment = os.environ | {"HYPOTHESIS_PROFILE": "quick", "OPENBLAS_NUM_THREADS": "1"}
    passed = not subprocess.run([run, "-m", "pytest", "-q", *tests], cwd=ROOT, env=environment, check=False).returncode
    print(f"{name}: {'passed' if passed else 'FAILED'}")
    return passed


def resolved(python: str, system: str, oldest: bool) -> bool:
    """Whether pip finds wheels of all dependencies for another system. It looks, and downloads next to nothing."""
    platforms = [option for name in ELSEWHERE[system] for option in ("--platform", name)]
    target = str(ROOT / "build" / "versions" / "elsewhere")
    command = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed", "--target", target]
    command += ["--only-binary=:all:", "--python-version", python, *platforms, *dependencies()]
    if oldest:
        command += floors(python)
    done = subprocess.run(command, check=False)
    found = "wheels of all" if not done.returncode else "NOT ALL there as wheels"
    print(f"{python} on {system}, {'oldest' if oldest else 'newest'}: {found}", flush=True)
    return not done.returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.versions", description=__doc__)
    parser.add_argument("tests", nargs="*", default=["tests/engine", "tests/nn", "tests/compiler"])
    parser.add_argument("--no-elsewhere", action="store_true", help="leave other systems out")
    parser.add_argument("--no-tests", action="store_true", help="ask about other systems alone")
    options = parser.parse_args()
    good = True
    for python in PYTHONS:
        where = interpreter(python)
        if where is None:
            print(f"{python}: not here")
        elif not options.no_tests:
            for oldest in (True, False):
                good &= tried(python, where, oldest, options.tests)
        if not options.no_elsewhere:
            for system in ELSEWHERE:
                for oldest in (True, False):
                    good &= resolved(python, system, oldest)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
