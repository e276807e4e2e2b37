"""Averaging gradients over all ranks, weighted by what each of them has seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from types import MethodType
from typing import Any, overload
from weakref import WeakMethod

from ..backend import Array, array_module, backend_of, is_array
from ..backend.dispatch import at
from ..graph.errors import public
from ..graph.grad_mode import no_grad
from ..graph.hooks import after_backward
from ..graph.tracing_hook import current_tracer
from ..tensor import Tensor
from ..tensor.rng import default_generator
from .agreement import NAME, Agreement
from .group import current
from .message import Message, described, send


class _Average(Message):
    """The gradients of one dtype, side by side in one array: the sum of weight · gradient / (the mean weight)."""

    def __init__(self, agreement: Agreement, first: bool) -> None:
        self.group, self._agreement, self._first = agreement.group, agreement, first

    def transfer(self, x: Array, out: Array, weight: Any = 1.0, seed: Any = 0, offset: Any = 0) -> None:
        agreement = self._agreement
        if self._first and agreement.static:
            agreement.reach(float(weight), int(seed), int(offset))
        link = self.group.link
        if agreement.factor == 1:
            link.all_reduce(x, out, "sum")
            return
        if agreement.factor:
            array_module(x).multiply(x, agreement.factor, out=out)
        else:
            out[...] = 0  # what it has may be nan, the mean of nothing
        link.all_reduce(out, out, "sum")


@overload
def average_gradients(parameters: Iterable[Any], weight: Any = 1.0, *, loss: Tensor) -> Tensor: ...
@overload
def average_gradients(parameters: Iterable[Any], weight: Any = 1.0, loss: Tensor | None = None) -> Tensor | None: ...
@public
def average_gradients(parameters: Iterable[Any], weight: Any = 1.0, loss: Tensor | None = None) -> Tensor | None:
    """Let the gradients be their means over all ranks: Σ weight · gradient / Σ weight, on each of them.

    With the number of terms that this rank's loss is a mean of as the weight, that is the gradient of the mean over all
    ranks, and what follows, as clipping, is as in one process with the whole batch. A rank without data takes part with
    the weight 0, whatever gradients it has. A parameter without a gradient on some ranks counts as 0 there, and without
    one on all of them stays without. One message for each dtype, with which requests to stop travel: see `should_stop`.

    >>> loss.backward()
    >>> dist.average_gradients(model.parameters(), weight=y.numel())

    Args:
        parameters: the same ones in the same order on all ranks; or pairs of names and parameters. Those that require
            no gradient are left out.
        weight: a number, or a tensor with one.
        loss: a scalar, to be averaged in the same message.

    Returns:
        The mean of the losses, if a rank gave one.

    Raises:
        TypeError: if something is no tensor, or none requires a gradient.
        RuntimeError: if a gradient was made with create_graph=True: its mean would be a constant.
        DistributedError: on all ranks, if they have other parameters, do something else, or have no data at all.
    """
    group = current(NAME)
    names, tensors = _named(parameters)
    weight = getattr(weight, "array", weight)
    recorded = next(
        (name for name, p in zip(names, tensors, strict=True) if p.grad is not None and p.grad.requires_grad), None
    )
    if recorded is not None:
        raise RuntimeError(
            f"{NAME}: the gradient of {recorded} was made with create_graph=True, and a mean over all ranks is a "
            "constant; clear it with zero_grad() before the backward() that counts, and with "
            "nn.parallel.DistributedDataParallel call backward(create_graph=True) in no_sync()"
        )
    if group.size == 1:
        return None if loss is None else loss.detach()
    tracer = current_tracer()
    with no_grad():
        grads = [p.grad for p in tensors]
        grads.append(None if loss is None else loss.detach().to(tensors[0].dtype).reshape(()))
        shapes = [*[p.shape for p in tensors], ()]
        kinds = [*[p.dtype for p in tensors], tensors[0].dtype]
        whats = [f"{name} {described(p.array, group)}" for name, p in zip(names, tensors, strict=True)]
        agreement = Agreement(group, [*whats, "the loss"], [g is not None for g in grads], tracer is not None)
        if tracer is not None:
            rest = (weight, *tracer.stands(default_generator))
        else:
            number = float(backend_of(weight).to_host(weight) if is_array(weight) else weight)
            agreement.reach(number, *default_generator.get_state())
            rest = ()
        like = next(x.array for x in (*grads, *tensors) if x is not None)
        averages: dict[int, Tensor] = {}
        for kind in dict.fromkeys(kinds) if any(agreement.present) or tracer is not None else ():
            places = [i for i, there in enumerate(agreement.present) if there and kinds[i] == kind]
            arrays = [_flat(grads[i], shapes[i], kind, like) for i in places]
            flat = array_module(like).concatenate(arrays) if arrays else _flat(None, (0,), kind, like)
            summed = send(_Average(agreement, first=kind == kinds[0]), flat, *rest)
            start = 0
            for i, array in zip(places, arrays, strict=True):
                end = start + array.size
                mean = summed[start:end] * (1.0 / group.size)  # before the reshape: a product of 0-d arrays is a scalar
                averages[i] = Tensor.wrap(mean.reshape(shapes[i]))
                start = end
        for i, p in enumerate(tensors):
            if i in averages:
                p.grad = averages[i]
    return averages.get(len(tensors))


def _flat(gradient: Tensor | None, shape: tuple[int, ...], kind: Any, like: Array) -> Array:
    """A gradient in one dimension, zeros if there is none."""
    if gradient is not None:
        return gradient.array.reshape(-1)
    with at(like):
        return array_module(like).zeros(math.prod(shape), kind)


def _named(parameters: Iterable[Any]) -> tuple[list[str], list[Tensor]]:
    """Names and tensors, of tensors or of pairs; those that are frozen are left out."""
    given: list[Any] = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    pairs = [x if isinstance(x, tuple) and len(x) == 2 else (f"parameter {i}", x) for i, x in enumerate(given)]
    strange = [type(x).__name__ for _, x in pairs if not isinstance(x, Tensor)]
    trained = [(str(name), x) for name, x in pairs if not strange and x.requires_grad]
    if not trained:
        what = f"a {strange[0]}" if strange else f"{len(pairs)} of which none does" if pairs else "none"
        raise TypeError(f"{NAME}: takes parameters, of which one at least requires a gradient, got {what}")
    return [name for name, _ in trained], [x for _, x in trained]


def call_after_backward(method: Callable[[Any], None]) -> None:
    """Call a method, as long as its object is there, with the nodes that gradients arrived at in a `backward()`."""
    known: WeakMethod[Any] = WeakMethod(method)

    def told(reached: Any) -> None:
        call: MethodType | None = known()
        if call is None:
            after_backward.remove(told)
        else:
            call(reached)

    after_backward.append(told)
