"""Bare pairs (forward, backward) of functions on arrays under this checker."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..backend import Array, array_module
from .arguments import Arguments
from .state import Surroundings, generators, restore_generators
from .subjects import BACKWARD, FORWARD, Arrays, Watch, reported

host: Any = array_module(0.0)


class PairSubject:
    """A bare pair (forward, backward) of functions on arrays.

    `backward(cotangent, *inputs, output)` returns one gradient, or one for each input; with several outputs, cotangent
    and output are tuples. It may also take the inputs as one tuple, or leave out the output. Random numbers that it
    draws are those after the forward function's, as in a training step.
    """

    def __init__(self, pair: Sequence[Callable[..., Any]], arguments: Arguments) -> None:
        self.forward, self.backward = pair
        self.arguments = arguments
        self.names: list[str] = arguments.names
        self.gates: dict[str, tuple[str, ...]] = {}
        self.time_dim: int | None = 0
        self.layouts: list[Any] = [host.asarray(x) for x in arguments.variables]
        self.given: list[Any] = [host.array(a, order="C") for a in self.layouts]
        self.movable: int = len(self.given)
        self.arrays: list[Any] = [x.astype("float64") for x in self.given]
        self.surroundings: Surroundings = Surroundings(list(pair))
        self._generators = generators()

    def _outputs(self, result: Any) -> tuple[Any, list[Array], list[int]]:
        """What the forward function returned, the same as a list of arrays, and which of them are floating-point."""
        ys = [host.asarray(y) for y in (result if isinstance(result, (tuple, list)) else (result,))]
        floating = [k for k, y in enumerate(ys) if y.dtype.kind in "fc"]
        if not floating:
            raise TypeError(
                f"gradcheck: the forward function must return floating-point arrays, it gave {type(result).__name__}"
            )
        return tuple(ys) if isinstance(result, (tuple, list)) else ys[0], ys, floating

    def values(self, arrays: Arrays) -> list[Array]:
        restore_generators(self._generators)
        try:
            _, ys, floating = self._outputs(self.forward(*self.arguments.filled(arrays)))
            return [host.array(ys[k]) for k in floating]
        finally:
            self.surroundings.put_back()

    def gradients(self, arrays: Arrays, cotangents: Arrays, watch: Watch | None = None) -> list[Array | None]:
        restore_generators(self._generators)
        try:
            with reported(FORWARD):
                result = self.forward(*self.arguments.filled(arrays))
            y, ys, floating = self._outputs(result)
            if watch is not None:
                watch.computed = [host.array(ys[k]) for k in floating]
            given = dict(zip(floating, cotangents, strict=True))
            # integers carry no gradient: zeros, for backward functions that expect something
            gs = [
                given[k] if k in given and given[k].dtype == part.dtype
                else given[k].astype(part.dtype) if k in given
                else host.zeros(part.shape)
                for k, part in enumerate(ys)
            ]  # fmt: skip
            call = self._arguments(tuple(gs) if isinstance(y, tuple) else gs[0], arrays, y)
            with reported(BACKWARD):
                result = self.backward(*call)
            gradients = self._gradients(result)
            if watch is not None:
                watch.raw, watch.inputs = gradients, list(arrays)
                watch.cotangents, watch.outputs = [gs[k] for k in floating], [host.array(ys[k]) for k in floating]
            return [None if g is None else host.array(g) for g in gradients]
        finally:
            self.surroundings.put_back()

    def _gradients(self, result: Any) -> list[Any]:
        """What the backward function returned, for each variable, in the memory in which it lies."""
        count = len(self.arguments.given)
        several = isinstance(result, (tuple, list)) or (isinstance(result, dict) and count > 1)
        found = list(result) if several else [result]
        if len(found) != count:
            raise TypeError(f"gradcheck: backward returned {len(found)} gradients for {count} inputs")
        with reported("taking apart what the backward pass returned"):
            gradients = [None if g is None else host.asarray(g) for g in self.arguments.gradients(found)]
        for name, g in zip(self.names, gradients, strict=True):
            if g is not None and g.dtype.kind not in "biufc":
                raise TypeError(
                    f"gradcheck: backward returned {g.dtype} for the gradient of {name}; it must return numbers, or "
                    "None where there is no gradient"
                )
        return gradients

    def _arguments(self, g: Any, arrays: Arrays, y: Any) -> list[Any]:
        """In the order that the backward function takes them."""
        inputs = self.arguments.filled(arrays)
        try:
            parameters = list(inspect.signature(self.backward).parameters.values())
        except (TypeError, ValueError):  # a builtin
            return [g, *inputs, y]
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        needed = len([p for p in positional if p.default is p.empty])
        if any(p.kind == p.VAR_POSITIONAL for p in parameters) or needed == len(inputs) + 2:
            return [g, *inputs, y]
        names = [p.name for p in positional]
        if needed == 3 and (
            len(inputs) != 2 or names[1] in ("inputs", "xs", "args") or names[2] in ("y", "output", "out")
        ):
            return [g, tuple(inputs), y]
        if needed == len(inputs) + 1:
            return [g, *inputs]
        if needed <= len(inputs) + 2 <= len(positional):
            return [g, *inputs, y]
        raise TypeError(
            f"gradcheck: backward takes {needed} arguments; it must take the cotangent, the {len(inputs)} inputs and "
            "the output"
        )
