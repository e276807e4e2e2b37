"""What engines can and cannot do: each cell of the table in docs/figures.md is an answer of one of `engine_probes`."""

from __future__ import annotations

import warnings
from importlib.metadata import PackageNotFoundError, distribution

import nn
import tinygrad_seq as tg

from .engine_probes import PROBES

ENGINES = {
    "tinygrad_seq": "tinygrad_seq",
    "PyTorch": "torch",
    "JAX": "jax",
    "HIPS autograd": "autograd",
    "MyGrad": "mygrad",
    "micrograd": "micrograd",
}


def installed_size(package: str) -> str:
    """Megabytes of the package's own files and, for JAX, of the library that it is a front of; without NumPy."""
    names = {"jax": ("jax", "jaxlib")}.get(package, (package,))
    if package == "tinygrad_seq":
        from pathlib import Path

        files = [p for module in (tg, nn) for p in Path(str(module.__file__)).parent.rglob("*.py")]
        return f"{sum(p.stat().st_size for p in files) / 1e6:.1f}"
    total = 0.0
    for name in names:
        total += sum(p.stat().st_size for f in distribution(name).files or () if (p := f.locate()).is_file())  # type: ignore[attr-defined]
    return f"{total / 1e6:.1f}"


def answer(question: str, engine: str) -> str:
    """What an engine's probe says; an error of the engine is a "no" with the error's name."""
    try:
        ask = PROBES[question].get(engine)
        return ask() if ask is not None else "has none"
    except ImportError:
        return "not installed"
    except (Exception, RecursionError) as error:
        return f"no: {type(error).__name__}"


def main() -> None:
    """Print the table in Markdown."""
    warnings.simplefilter("ignore")
    engines = []
    for name, package in ENGINES.items():
        try:
            version = tg.__version__ if package == "tinygrad_seq" else distribution(package).version
            engines.append((name, f"{name} {version}"))
        except PackageNotFoundError:
            continue
    print("\n| | " + " | ".join(title for _, title in engines) + " |")
    print("|---" * (len(engines) + 1) + "|")
    for question in PROBES:
        print(f"| {question} | " + " | ".join(answer(question, name) for name, _ in engines) + " |")
    print(
        "| size installed, without NumPy, MB | "
        + " | ".join(installed_size(ENGINES[name]) for name, _ in engines)
        + " |"
    )


if __name__ == "__main__":
    main()
