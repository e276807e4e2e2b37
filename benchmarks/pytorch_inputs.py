"""PyTorch's own test inputs, computed by both: `python -m benchmarks pytorch-inputs`.

Of its tables of operations, modules and optimizers (`torch.testing._internal`) those whose name stands here, too: each
sample as a function, as a method and in place, as far as both have it. A case agrees if values, dtypes and shapes do,
and in float64 the gradients. What PyTorch itself refuses is left out. `make peers` installs what this takes.
"""

from __future__ import annotations

import re
import types
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterator, Sequence
from functools import partial, reduce
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db
from torch.testing._internal.common_optimizers import optim_db

import nn
import tinygrad_seq as tg

from .processes import markdown

DTYPES = (torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64)
RTOL = {"float16": 2e-3, "float32": 1e-4, "complex64": 1e-4, "float64": 1e-7, "complex128": 1e-7}
DRAWN = {  # of which no two libraries have the same numbers: shapes and dtypes alone are compared
    "bernoulli", "empty", "empty_like", "multinomial", "new_empty", "normal", "rand_like", "randint", "randn",
    "randn_like", "uniform", "nn.functional.dropout", "nn.Dropout",
}  # fmt: skip
ORDERS = {"argsort": 0, "sort": 1, "topk": 1}  # which result says where equal elements stood, in no order promised

Outcome = tuple[str, str]  # "agree", "differ" or "raise", and why
Case = tuple[str, Callable[[], Any], Callable[[], Any]]  # what it is, and how either computes it


class Translation:
    """PyTorch's arguments as ours; notes which tensors stand for each other."""

    def __init__(self) -> None:
        self.pairs: list[tuple[Any, tg.Tensor]] = []  # those that require a gradient

    def __call__(self, x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            made = tg.tensor(numbers(x))
            if x.requires_grad:
                self.pairs.append((x, made.requires_grad_()))
            return made
        if isinstance(x, (torch.dtype, torch.memory_format, torch.layout)):
            return getattr(tg, str(x).removeprefix("torch."))
        if isinstance(x, torch.device):
            return tg.device(str(x))
        if isinstance(x, torch.nn.Module):
            raise TypeError("a module as an argument")
        if isinstance(x, dict):
            return {key: self(value) for key, value in x.items()}
        if isinstance(x, (list, tuple)):
            return (tuple if isinstance(x, tuple) else list)([self(part) for part in x])
        return x


def numbers(x: Any) -> Any:
    """A tensor of either as an array; anything else as it is."""
    if isinstance(x, torch.Tensor):
        return x.detach().resolve_conj().resolve_neg().numpy()
    return x.detach().numpy() if isinstance(x, tg.Tensor) else x


def leaves(tree: Any) -> list[Any]:
    """Tensors and numbers in containers, one after another; without None."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, (list, tuple)):
        return [leaf for part in tree for leaf in leaves(part)]
    return [] if tree is None else [tree]


def difference(theirs: Any, ours: Any, unsaid: Container[int] = ()) -> str:
    """In what two results differ, in words; nothing if they agree. Of those in `unsaid` values may be any."""
    expected, found = leaves(theirs), leaves(ours)
    if len(expected) != len(found):
        return f"{len(found)} results for {len(expected)}"
    for k, (want, got) in enumerate(zip(expected, found, strict=True)):
        if isinstance(want, torch.Tensor) and not isinstance(got, tg.Tensor):
            return f"a {type(got).__name__} for a tensor"
        a, b = np.asarray(numbers(want)), np.asarray(numbers(got))
        if not isinstance(want, (bool, int, float, complex)) and a.dtype != b.dtype:
            return f"dtype {b.dtype} for {a.dtype}"
        if a.shape != b.shape:
            return f"shape {b.shape} for {a.shape}"
        rtol = RTOL.get(str(a.dtype), 0.0)
        if k not in unsaid and a.dtype.kind in "biufc" and not np.allclose(b, a, rtol, rtol / 10, equal_nan=True):
            return "values"
    return ""


def outcome(name: str, case: Case) -> Outcome | None:
    """How a case goes; None where PyTorch itself raises."""
    call, theirs, ours = case
    drawn = name in DRAWN or "'dropout_p': '0.5'" in call
    try:
        expected = theirs()
    except Exception:
        return None
    try:
        found = ours()
    except Exception as error:
        return "raise", f"{type(error).__name__}: {error}"
    unsaid = range(100) if drawn else (ORDERS[name],) if name in ORDERS else ()
    if reason := difference(expected["value"], found["value"], unsaid):
        return "differ", reason
    if reason := difference(expected.get("gradient"), found.get("gradient"), unsaid if drawn else ()):
        return "differ", f"gradient: {reason}"
    return "agree", ""


def cotangents(results: Sequence[Any]) -> list[Any]:
    """What arrives at results on the way back: the same numbers for both libraries."""
    return [np.cos(np.arange(np.prod(y.shape, dtype=int))).reshape(y.shape) for y in results]


def differentiated(result: Any, inputs: Sequence[Any], lib: Any) -> dict[str, Any]:
    """A result, and the gradients of what is float64 in it."""
    ends = [y for y in leaves(result) if isinstance(y, lib.Tensor) and y.requires_grad and y.dtype == lib.float64]
    found = [None] * len(inputs)
    if ends and inputs:
        found = lib.autograd.grad(ends, inputs, [lib.tensor(c) for c in cotangents(ends)], allow_unused=True)
    return {
        "value": result,
        "gradient": [np.zeros(tuple(x.shape)) if g is None else numbers(g) for x, g in zip(inputs, found, strict=True)],
    }


def found_at(place: Any, path: str) -> Any:
    """What stands under a dotted name, or None."""
    return reduce(lambda where, name: getattr(where, name, None), path.split("."), place)


def ways(op: Any) -> Iterator[tuple[str, Any, Any]]:
    """How an operation is called in both libraries: the way's name, PyTorch's function, and ours."""
    there = {name: found_at(tg, name) is not None or hasattr(tg.Tensor, name) for name in (op.name, op.name + "_")}
    if getattr(op.op, "__name__", "") == "<lambda>" and any(there.values()):  # the same call, with the imports changed
        code, known = op.op.__code__, {**op.op.__globals__, "torch": tg}
        yield "function", op.op, types.FunctionType(code, known, None, op.op.__defaults__, op.op.__closure__)
    elif callable(found_at(torch, op.name)) and callable(function := found_at(tg, op.name)):
        yield "function", op.op, function
    for way, method, name in (("method", op.method_variant, op.name), ("in place", op.inplace_variant, op.name + "_")):
        if method is not None and hasattr(tg.Tensor, name):
            yield way, method, getattr(tg.Tensor, name)


def operation_cases(op: Any) -> Iterator[Case]:
    for way, theirs, ours in ways(op):
        for dtype in DTYPES:
            if dtype not in op.supported_dtypes("cpu"):
                continue
            torch.manual_seed(0)
            wants_grad = dtype == torch.float64 and op.supports_autograd
            for sample in op.sample_inputs("cpu", dtype, requires_grad=wants_grad):
                if way == "function" or isinstance(sample.input, torch.Tensor):
                    yield f"{way}, {sample.summary()}", *sides(theirs, ours, sample, copies=way == "in place")


def sides(theirs: Any, ours: Any, sample: Any, copies: bool) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """One sample's call by either library."""
    given = (sample.input, sample.args, sample.kwargs)
    inputs = [x for x in leaves(given) if isinstance(x, torch.Tensor) and x.requires_grad]

    def their_side() -> Any:
        first = sample.input.clone() if copies else sample.input
        return differentiated(theirs(first, *sample.args, **sample.kwargs), inputs, torch)

    def our_side() -> Any:
        translation = Translation()
        first, args, kwargs = translation(given)
        result = ours(first.clone() if copies else first, *args, **kwargs)
        return differentiated(result, [mine for _, mine in translation.pairs], tg)

    return their_side, our_side


def module_cases(info: Any) -> Iterator[Case]:
    for dtype in (torch.float32, torch.float64):
        for training in (True, False) if info.train_and_eval_differ else (True,):
            torch.manual_seed(0)
            makes = info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=False, training=training)
            for given in makes:
                build, call = given.constructor_input, given.forward_input
                module = info.module_cls(*build.args, **build.kwargs).to(dtype).train(training)
                lazy = any(isinstance(p, torch.nn.UninitializedParameter) for p in module.parameters())
                state = {} if lazy else {name: numbers(x).copy() for name, x in module.state_dict().items()}
                yield (
                    f"training={training}, {dtype}, {vars_of(build)} {vars_of(call)}",
                    partial(their_module, module, call),
                    partial(our_module, info.module_cls.__name__, module, state, build, call, training),
                )


def vars_of(given: Any) -> str:
    return (
        "" if given is None else re.sub(r"tensor\(.*?\)(?=, \w+=|[,)\]}]*$)", "tensor", f"{given.args} {given.kwargs}")
    )


def their_module(module: Any, call: Any) -> dict[str, Any]:
    return {"value": module(*call.args, **call.kwargs)}


def our_module(name: str, theirs: Any, state: Any, build: Any, call: Any, training: bool) -> dict[str, Any]:
    """A module of ours with PyTorch's numbers, called with the same arguments."""
    translation = Translation()
    module = getattr(nn, name)(*translation(build.args), **translation(build.kwargs))
    weights = state or {name: numbers(x) for name, x in theirs.state_dict().items()}
    if any(x.dtype == np.float64 for x in weights.values()):
        module = module.double()
    module.load_state_dict({name: tg.tensor(x) for name, x in weights.items()})
    return {"value": module.train(training)(*translation(call.args), **translation(call.kwargs))}


def optimizer_cases(info: Any) -> Iterator[Case]:
    for given in info.optim_inputs_func("cpu"):
        steps = partial(five_steps, info.name, given.kwargs)
        yield given.desc, partial(steps, torch), partial(steps, tg)


def five_steps(name: str, kwargs: Any, lib: Any) -> dict[str, Any]:
    """Where an optimizer takes two matrices in five steps down a bowl."""
    start = [np.linspace(-1, 2, 6).reshape(2, 3), np.linspace(1, -1, 4).reshape(2, 2)]
    weights = [lib.tensor(x).requires_grad_() for x in start]
    optimizer = getattr(lib.optim, name)(weights, **(Translation()(kwargs) if lib is tg else kwargs))

    def loss() -> Any:
        optimizer.zero_grad()
        bowl = sum(((w - 0.5) ** 4).sum() + (w * w).sum() for w in weights)
        bowl.backward()
        return bowl

    for _ in range(5):
        optimizer.step(loss)
    return {"value": weights}


def tables() -> Iterator[tuple[str, Callable[[], Iterator[Case]]]]:
    """Each entry's name and its cases, of those that stand here."""
    for op in op_db:
        if next(ways(op), None) is not None:
            yield op.name, partial(operation_cases, op)
    for info in module_db:
        if hasattr(nn, info.module_cls.__name__):
            yield info.name, partial(module_cases, info)
    for info in optim_db:
        if hasattr(nn.optim, info.name) and not info.only_supports_sparse_grads:
            yield f"optim.{info.name}", partial(optimizer_cases, info)


def in_general(reason: str) -> str:
    """A reason without the shapes and numbers of one case."""
    return re.sub(r"(N[, ]*)+N", "N", re.sub(r"-?\d+(\.\d+)?(e-?\d+)?", "N", reason))[:110]


def main(names: Sequence[str] = ()) -> None:
    """Count all, or with names those alone, each case that does not agree in a line."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for name, cases in tables():
        if names and name not in names:
            continue
        for case in cases():
            with np.errstate(all="ignore"):
                found = outcome(name, case)
            if found is None:
                continue
            counts[name][found[0]] += 1
            if found[0] != "agree":
                reasons[found[0], in_general(found[1])][name] += 1
                if names:
                    print(f"{found[0]}: {name}: {case[0]}\n    {found[1]}")
    columns = ("agree", "differ", "raise")
    rows = [(name, *[str(count[column]) for column in columns]) for name, count in sorted(counts.items())]
    total = sum(counts.values(), Counter())
    short = [row for row in rows if row[2:] != ("0", "0")]
    print(markdown([("", *columns), *short, (f"all {len(rows)}", *[str(total[column]) for column in columns])]))
    for (kind, reason), where in sorted(reasons.items(), key=lambda item: -item[1].total()):
        print(f"{where.total():6} {kind}: {reason}  [{', '.join(name for name, _ in where.most_common(6))}]")
