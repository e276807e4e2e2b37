"""The gradient checker on the command line: `python -m tinygrad_seq gradcheck module:function --shape 3,4`."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from .backend import array_module
from .gradcheck import NotTestedWarning, gradcheck, gradgradcheck
from .terminal import escape_unprintable

PASSED, WRONG, BAD_USAGE, NOT_TESTED = 0, 1, 2, 3


class UsageError(Exception):
    """Something on the command line that is none; the message is one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0 (right), 1 (wrong), 2 (bad usage) or 3 (nothing was tested)."""
    escape_unprintable()
    parser = argparse.ArgumentParser(prog="python -m tinygrad_seq", description="Tools of tinygrad_seq.")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser(
        "gradcheck",
        help="is the gradient of a function right?",
        description="Check the gradient of a function of tensors, of a Module, or of a pair (forward, backward) of "
        "functions on arrays. Exits with 0 if it is right, 1 if it is wrong, 3 if nothing could be tested, 2 if this "
        "command line makes no sense.",
    )
    check.add_argument("target", help="what to check: package.module:name, or path/to/file.py:name")
    check.add_argument(
        "--shape", action="append", metavar="N,M,...", help="shape of an input; once per input; '' for a 0-d one"
    )
    check.add_argument("--dtype", default="float64", choices=["float32", "float64"], help="of the inputs")
    check.add_argument("--order", type=int, default=1, choices=[1, 2], help="2: the gradient of the gradient")
    check.add_argument("--seed", type=int, default=0, help="of the inputs, weights and directions")
    check.add_argument("--low", type=float, help="draw the inputs uniformly, from here ...")
    check.add_argument("--high", type=float, help="... to here; by default they are normal")
    check.add_argument("--json", action="store_true", help="print the report for programs")
    options = parser.parse_args(arguments)
    try:
        return _gradcheck(options)
    except UsageError as error:
        print(f"gradcheck: {error}", file=sys.stderr)
        return BAD_USAGE


def _gradcheck(options: Any) -> int:
    target = find(options.target)
    inputs = draw(options)
    check = gradcheck if options.order == 1 else gradgradcheck
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotTestedWarning)  # the report and the exit code say it
        try:
            report = check(target, inputs, seed=options.seed, raise_exception=False)
        except (TypeError, ValueError, IndexError) as error:
            raise UsageError(f"{options.target} cannot be checked with these inputs: {error}") from error
    print(json.dumps(report.to_dict()) if options.json else report)
    return {"pass": PASSED, "fail": WRONG, "not tested": NOT_TESTED}[report.verdict]


def find(target: str) -> Any:
    """The object that a target names.

    Raises:
        UsageError: if there is no such file, module or name, or importing it fails.
    """
    where, colon, name = target.rpartition(":")
    if not colon or not where or not name:
        raise UsageError(f"{target!r} does not name a function: write package.module:name or path/to/file.py:name")
    try:
        found = _from_file(where) if where.endswith(".py") else importlib.import_module(where)
        for part in name.split("."):
            found = getattr(found, part)
    except FileNotFoundError:
        raise UsageError(f"there is no file {where}") from None
    except AttributeError:
        raise UsageError(f"{where} has no {name}") from None
    except Exception as error:
        raise UsageError(f"cannot import {where}: {type(error).__name__}: {error}") from error
    return found


def _from_file(path: str) -> Any:
    if not os.path.exists(path):
        raise FileNotFoundError(path)
    spec = importlib.util.spec_from_file_location(os.path.basename(path)[:-3], path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def draw(options: Any) -> list[Any]:
    """The inputs that the command line asks for.

    Raises:
        UsageError: if a shape is none.
    """
    if not options.shape:
        raise UsageError("no inputs: give --shape once for each, as in --shape 3,4 --shape 4")
    if (options.low is None) != (options.high is None):
        raise UsageError("--low and --high go together")
    rng = array_module(0.0).random.default_rng(options.seed)
    inputs = []
    for text in options.shape:
        try:
            shape = tuple([int(length) for length in text.split(",") if length.strip()])
        except ValueError:
            raise UsageError(f"--shape takes whole numbers with commas between, got {text!r}") from None
        if any(length < 0 for length in shape):
            raise UsageError(f"--shape takes no negative lengths, got {text!r}")
        low, high = options.low, options.high
        x = rng.standard_normal(shape) if low is None else rng.uniform(low, high, shape)
        inputs.append(array_module(0.0).asarray(x, dtype=options.dtype))
    return inputs


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    sys.exit(main())
