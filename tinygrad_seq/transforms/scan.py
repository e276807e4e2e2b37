"""A loop over steps as one function: `scan`."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from ..backend import Array, several_gpus
from ..backend.pytree import leaves, rebuild, tree_map
from ..graph.grad_mode import no_grad
from ..graph.recomputation import Run
from ..graph.saved_tensors import next_number, owner_of, version_counter
from ..graph.tracing_hook import current_tracer
from ..ops.shape import stack
from ..tensor import Tensor, as_tensor, tensor
from ..tensor.creation import zeros

Carry = TypeVar("Carry")
Y = TypeVar("Y")


def scan(
    step: Callable[[Any, Any], tuple[Carry, Y]],
    carry: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
) -> tuple[Carry, Y]:
    """Carry a state from step to step: `carry, y = step(carry, x)` for each x along the first dimension of xs.

    As JAX's `lax.scan`. carry, xs and y are tensors or containers of them, y may be None; what else step uses, such as
    weights, gets gradients too. Derivatives of any order pass through.

    Args:
        step: takes the carry and one step's part of xs, and returns the next carry and y. The carry keeps its
            structure, shapes, dtypes and devices.
        carry: where to begin.
        xs: (T, ...) tensors, of one T; None for steps that take nothing, as many as `length` says. step gets None then.
        length: T, where xs does not say it; if both do, they must agree.
        reverse: begin with the last step. The ys stand where their xs do.

    Returns:
        The carry after the last step, and the ys as tensors (T, ...). Of no steps, ys has the shapes that step gives
        for zeros: it is called once with them, and what it changes is as it was afterwards.

    Raises:
        TypeError: if the carry or y changes its structure, dtype or device on the way; the message names the tensor.
        ValueError: if it changes its shape, or xs and length do not give one T.
        RuntimeError: if step changes xs in place, or what it returned as y before.

    >>> h, outputs = tg.scan(lambda h, x: (h + x, h * x), tg.tensor(0.0), tg.tensor([1.0, 2.0, 3.0]))
    >>> h, outputs
    (tensor(6.), tensor([0., 2., 9.]))
    """
    if not callable(step):
        raise TypeError(f"scan: takes a function first, got a {type(step).__name__}")
    tensors = [as_tensor(x) for x in leaves(xs)]
    count = _length(xs, tensors, length)
    carry = tree_map(lambda x: as_tensor(x).clone(), carry)  # in memory of its own, which step may change
    if not count:
        return carry, _empty(step, carry, xs, tensors)
    tracer = current_tracer()
    walk = _Walk(step, carry, xs)
    done, now, ys = 0, leaves(carry), list[_Held]()
    if tracer is not None and count > 1:
        done, now, first = tracer.scan(step, walk.step, now, tensors, count, reverse)
        if done == count:
            return rebuild(carry, iter(now)), rebuild(walk.form, iter(first))
        ys += [_Held.of(first)] * done
    taken = _Held.of(tensors)
    columns = [x.unbind(0) for x in tensors]
    for t in (range(count)[::-1] if reverse else range(count))[done:]:
        now, y = walk.step(now, [column[t] for column in columns], t)
        ys.append(_Held.of(y))
    taken.require_unchanged("step changed xs in place; change x.clone()")
    for held in ys:
        held.require_unchanged("a step changed in place what an earlier one had returned as y; return y.clone()")
    if reverse:
        ys.reverse()
    stacked = [stack(column) for column in zip(*[y.tensors for y in ys], strict=True)]
    return rebuild(carry, iter(now)), rebuild(walk.form, iter(stacked))


class _Like:
    """What a tensor is like, without its numbers."""

    def __init__(self, x: Any) -> None:
        x = as_tensor(x)
        self.shape, self.dtype, self.device = x.shape, x.dtype, x.device
        self._kind = type(x.array)

    def fits(self, x: Tensor) -> bool:
        """Whether a tensor is like this."""
        array = x.array
        alike = array.shape == self.shape and array.dtype == self.dtype
        there = type(array) is self._kind and not several_gpus  # where to look costs more than all else
        return alike and (there or x.device == self.device)

    def __str__(self) -> str:
        return f"{self.dtype} of shape {self.shape} on {self.device}"


class _Walk:
    """A step as a function of lists of tensors.

    Attributes:
        form: what y is like; known after the first step.
    """

    form: Any

    def __init__(self, step: Callable[[Any, Any], Any], carry: Any, xs: Any) -> None:
        self._step, self._carry, self._xs = step, tree_map(_Like, carry), tree_map(_Like, xs)
        self._known = False

    def step(self, carry: list[Tensor], x: list[Tensor], t: int) -> tuple[list[Tensor], list[Tensor]]:
        """The carry and y after a step."""
        now, y = _taken(self._step, rebuild(self._carry, iter(carry)), rebuild(self._xs, iter(x)))
        if not self._known:
            self.form, self._known = tree_map(_Like, y), True
        carried: list[Tensor] = []
        ys: list[Tensor] = []
        _match("carry", now, self._carry, t, carried)
        _match("y", y, self.form, t, ys)
        return carried, ys


class _Held(NamedTuple):
    """Tensors, and the arrays in them at that time, which nobody may write to afterwards."""

    tensors: list[Tensor]
    arrays: list[Array]
    time: int

    @classmethod
    def of(cls, tensors: list[Tensor]) -> _Held:
        return cls(tensors, [x.array for x in tensors], next_number())

    def require_unchanged(self, otherwise: str) -> None:
        for x, array in zip(self.tensors, self.arrays, strict=True):
            if x.array is not array or version_counter.write_time(id(owner_of(array))) > self.time:
                raise RuntimeError(f"scan: {otherwise}")


def _length(xs: Any, tensors: list[Tensor], length: int | None) -> int:
    """The number of steps."""
    for x in tensors:
        if not x.ndim:
            raise ValueError(
                "scan: xs are tensors (T, ...), and one of them has no dimension; numbers in a list are no tensor, "
                "tg.tensor makes them one"
            )
    counts = sorted({len(x) for x in tensors})
    if len(counts) > 1:
        raise ValueError(f"scan: all xs must have as many steps along their first dimension, they have {counts}")
    if length is None:
        if not counts:
            raise TypeError("scan: without xs, length= must say how many steps there are")
        return counts[0]
    if isinstance(length, bool) or not hasattr(length, "__index__"):
        raise TypeError(f"scan: length is an integer, got a {type(length).__name__}")
    given = operator.index(length)
    if given < 0 or (counts and counts[0] != given):
        raise ValueError(
            f"scan: length={given}, but " + (f"xs have {counts[0]} steps" if counts else "it is from 0 up")
        )
    return given


def _taken(step: Callable[[Any, Any], Any], carry: Any, x: Any) -> tuple[Any, Any]:
    """What a step returns."""
    returned = step(carry, x)
    if not isinstance(returned, tuple) or len(returned) != 2:
        what = f"{len(returned)} entries" if isinstance(returned, tuple) else f"a {type(returned).__name__}"
        raise TypeError(f"scan: step must return a tuple (carry, y), it returned {what}; y may be None")
    return returned


def _match(path: str, now: Any, before: Any, t: int, found: list[Tensor]) -> None:
    """Find the tensors of a container in the order of one before, which it must be like."""
    if isinstance(before, _Like):
        if not isinstance(now, Tensor):
            if now is None or isinstance(now, (dict, list, tuple)):
                raise _unlike(path, now, before, t)
            number = isinstance(now, (int, float)) and not isinstance(now, bool)
            now = tensor(now, before.dtype, before.device) if number and before.dtype.kind == "f" else as_tensor(now)
        if not before.fits(now):
            raise _unlike(path, _Like(now), before, t)
        found.append(now)
    elif isinstance(before, dict):
        if type(now) is not type(before) or now.keys() != before.keys():
            raise _unlike(path, now, before, t)
        for key in before:
            _match(f"{path}[{key!r}]", now[key], before[key], t, found)
    elif isinstance(before, (list, tuple)):
        if type(now) is not type(before) or len(now) != len(before):
            raise _unlike(path, now, before, t)
        for i, entry in enumerate(before):
            _match(f"{path}[{i}]", now[i], entry, t, found)
    elif now is not None:
        raise _unlike(path, now, before, t)


def _unlike(path: str, now: Any, before: Any, t: int) -> Exception:
    """What is wrong with the carry, or y, after a step, as an error."""
    kind: type[Exception] = TypeError
    if isinstance(now, _Like) and isinstance(before, _Like) and now.shape != before.shape:
        kind = ValueError
    rule = "begin with a carry like that" if path.startswith("carry") else "all ys must be alike"
    return kind(f"scan: at step {t}, {path} is {_described(now)}, but before it was {_described(before)}; {rule}")


def _described(tree: Any) -> str:
    if isinstance(tree, dict):
        return f"a {type(tree).__name__} of {', '.join(map(repr, tree))}" if tree else "an empty dict"
    if isinstance(tree, (list, tuple)):
        return f"a {type(tree).__name__} of {len(tree)}"
    if tree is None or isinstance(tree, (_Like, Tensor)):
        return str(tree if isinstance(tree, _Like) or tree is None else _Like(tree))
    return f"a {type(tree).__name__}"


def _empty(step: Callable[[Any, Any], Any], carry: Any, xs: Any, tensors: list[Tensor]) -> Any:
    """The ys of no steps: as one step of zeros says."""
    x = [zeros(x.shape[1:], dtype=x.dtype, device=x.device) for x in tensors]
    trial, walk = Run(), _Walk(step, carry, xs)
    try:
        with trial.first(), no_grad():
            walk.step(leaves(carry), x, 0)
    except Exception as error:
        raise ValueError(
            "scan: there are no steps, so the shape of ys is that of a step of zeros, which failed "
            f"({type(error).__name__}: {error}); call scan only where there are steps"
        ) from error
    finally:
        trial.undo()
    return tree_map(lambda y: zeros((0, *y.shape), dtype=y.dtype, device=y.device), walk.form)
