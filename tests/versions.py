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
FIRST_NUMPY = {"3.13": "2.1.0", "3.14": "2.3.2"}  # with wheels for it
FIRST = {"llvmlite": {"3.14": "0.46.0"}, "matplotlib": {"3.13": "3.9.2", "3.14": "3.10.5"}}
ELSEWHERE = ("macosx_11_0_arm64", "win_amd64", "manylinux_2_28_aarch64")


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
    """Where a Python is: on the path, or one of pyenv's."""
    known = sorted(Path.home().glob(f".pyenv/versions/{python}.*/bin/python"))
    return shutil.which(f"python{python}") or (str(known[-1]) if known else None)


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


def resolved(python: str, platform: str) -> bool:
    """Whether pip finds wheels of all dependencies for another system."""
    target = ROOT / "build" / "versions" / f"{platform}-{python}"
    command = [sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", "--python-version", python]
    done = subprocess.run([*command, "--platform", platform, "-d", str(target), *dependencies()], check=False)
    print(f"{python} on {platform}: {'wheels of all' if not done.returncode else 'NOT ALL there as wheels'}")
    return not done.returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.versions", description=__doc__)
    parser.add_argument("tests", nargs="*", default=["tests/engine", "tests/nn", "tests/compiler"])
    parser.add_argument("--no-elsewhere", action="store_true", help="leave other systems out")
    options = parser.parse_args()
    good = True
    for python in PYTHONS:
        where = interpreter(python)
        if where is None:
            print(f"{python}: not here")
        else:
            for oldest in (True, False):
                good &= tried(python, where, oldest, options.tests)
        if not options.no_elsewhere:
            for platform in ELSEWHERE:
                good &= resolved(python, platform)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
