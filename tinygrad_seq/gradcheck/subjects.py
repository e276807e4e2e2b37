"""What is checked: a function of arrays with derivatives of its own, wherever they come from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from ..autodiff import recorded_sweep
from ..backend import Array, array_module, backend_of, is_array
from ..device import device as Device
from ..grad_mode import enable_grad, no_grad
from ..graph import Leaf
from ..streams import default_generator
from ..tensor import Tensor, as_tensor
from ..tree import leaves

host = array_module(0.0)
Arrays = Sequence[Array]


class Subject(Protocol):
    """A function, seen from outside. Arrays are the host's.

    Attributes:
        names: of the inputs to differentiate by.
        arrays: their values.
        gates: for the inputs that hold the gates of a recurrent network one below the other, which; by name.
        time_dim: which of the three dimensions of a sequence counts the time steps; None if that is not known.
        movable: how many of the inputs, from the first on, may be given other values: not parameters.
    """

    names: list[str]
    arrays: list[Array]
    gates: dict[str, tuple[str, ...]]
    time_dim: int | None
    movable: int

    def values(self, arrays: Arrays) -> list[Array]:
        """The floating-point outputs."""

    def gradients(self, arrays: Arrays, cotangents: Arrays) -> list[Array | None]:
        """What the function says its gradients are; None where it says nothing."""


@contextmanager
def replayed(state: Any) -> Iterator[None]:
    """Draw the random numbers after `state` again, so that dropout keeps its mask from call to call."""
    import random  # here, because few import it

    default_generator.set_state(state)
    theirs = host.random.get_state(), random.getstate()
    try:
        yield
    finally:
        host.random.set_state(theirs[0])
        random.setstate(theirs[1])


def floating_outputs(result: Any) -> list[Tensor]:
    """The floating-point tensors that a function returned.

    Raises:
        TypeError: if there is none.
    """
    tensors = [y for y in leaves(result) if isinstance(y, Tensor) and y.dtype.kind in "fc"]
    if not tensors:
        raise TypeError(
            f"gradcheck: the function must return a floating-point tensor, it returned {type(result).__name__}"
        )
    return tensors


class TensorSubject:
    """A function of tensors, or a Module, whose parameters are inputs as well.

    Raises:
        TypeError: if an input is no floating-point tensor, array or number.
    """

    def __init__(self, f: Callable[..., Any], inputs: Sequence[Any], names: Sequence[str] | None = None) -> None:
        self.f = f
        self._given = [x.detach() if isinstance(x, Tensor) else Tensor(x) for x in inputs]
        for i, x in enumerate(self._given):
            if x.dtype.kind not in "fc":
                raise TypeError(
                    f"gradcheck: input {i} is of {x.dtype}; takes floating-point inputs, close f over the others"
                )
        self.movable = len(self._given)
        self.parameters: list[Tensor] = []
        self.names = list(names) if names is not None else [f"input {i}" for i in range(len(inputs))]
        self.gates: dict[str, tuple[str, ...]] = {}
        if hasattr(f, "named_parameters"):
            for name, parameter in f.named_parameters():
                if parameter.requires_grad:
                    self.names.append(name)
                    self.parameters.append(parameter)
            self.gates = gates_of(f, self.names)
        self.time_dim = time_dim_of(f)
        tensors = [*self._given, *self.parameters]
        self.dtypes = [x.dtype for x in tensors]
        self.devices = [x.device for x in tensors]
        self.arrays = [backend_of(x.array).to_host(x.array).astype("float64") for x in tensors]
        self._state = default_generator.get_state()

    @contextmanager
    def _in_place(self, tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
        """The inputs; inside, the parameters are the rest of the tensors."""
        count = len(self._given)
        kept = [(p, p.array, p.node) for p in self.parameters]
        try:
            for parameter, tensor in zip(self.parameters, tensors[count:], strict=True):
                parameter.array, parameter.node = tensor.array, tensor.node
            with replayed(self._state):
                yield list(tensors[:count])
        finally:
            for parameter, array, node in kept:
                parameter.array, parameter.node = array, node

    def tensors(self, arrays: Arrays) -> list[Tensor]:
        """Arrays as tensors, each on the device of its input."""
        return [
            Tensor.wrap(Device(device).backend.asarray(host.array(a), None, device.index))
            for a, device in zip(arrays, self.devices, strict=True)
        ]

    def values(self, arrays: Arrays) -> list[Array]:
        if any(a.dtype.kind == "c" for a in arrays):  # all complex or none: a gradient is cast to its input's dtype
            arrays = [a.astype("complex128") for a in arrays]
        with no_grad(), self._in_place(self.tensors(arrays)) as xs:
            return [backend_of(y.array).to_host(y.array) for y in floating_outputs(self.f(*xs))]

    def gradients(self, arrays: Arrays, cotangents: Arrays) -> list[Array | None]:
        found = self.gradient_tensors(self.tensors(arrays), cotangents)
        return [None if g is None else backend_of(g.array).to_host(g.array) for g in found]

    def gradient_tensors(self, tensors: Sequence[Tensor], cotangents: Sequence[Any]) -> list[Tensor | None]:
        """The same as recorded tensors, which can be differentiated in turn."""
        with enable_grad():
            xs = [x if x.node is not None else x.detach().requires_grad_() for x in tensors]
            with self._in_place(xs) as inputs:
                ys = floating_outputs(self.f(*inputs))
                roots = [
                    (y.node, as_tensor(w, like=y).to(y.device).to(y.dtype))
                    for y, w in zip(ys, cotangents, strict=True)
                    if y.node is not None
                ]
                targets = [x.node for x in xs if x.node is not None]
                found = recorded_sweep(roots, targets, retain_graph=True, value_class=Tensor)
        return [found.get(x.node) if x.node is not None else None for x in xs]

    def in_own_precision(self) -> list[Array]:
        """The inputs as they were given, for a gradient in their own dtype."""
        return [a.astype(dtype) for a, dtype in zip(self.arrays, self.dtypes, strict=True)]

    def leaf_gradients(self, cotangents: Arrays) -> list[Tensor | None]:
        """The gradients as `backward` leaves them, in the inputs' own dtype and on their device."""
        tensors = [x.requires_grad_() for x in self.tensors(self.in_own_precision())]
        with enable_grad(), self._in_place(tensors) as inputs:
            ys = floating_outputs(self.f(*inputs))
            for y, w in zip(ys, cotangents, strict=True):
                if y.node is not None:
                    y.backward(as_tensor(w).to(y.device).to(y.dtype), retain_graph=True)
        return [x.node.grad if isinstance(x.node, Leaf) else None for x in tensors]


class SecondOrder(TensorSubject):
    """The gradients of another subject as a function of its inputs and of the cotangents."""

    def __init__(self, first: TensorSubject, cotangents: Arrays) -> None:
        count = len(first.arrays)

        def gradients(*given: Tensor) -> list[Tensor]:
            found = first.gradient_tensors(given[:count], list(given[count:]))
            return [x * 0 if g is None else g for g, x in zip(found, given[:count], strict=True)]

        names = [*first.names, *[f"cotangent of output {k}" for k in range(len(cotangents))]]
        device = first.devices[0] if first.devices else None
        weights = [Tensor(w, device=device) for w in cotangents]
        super().__init__(gradients, [*first.tensors(first.arrays), *weights], names)
        self.gates, self.time_dim, self.movable = first.gates, first.time_dim, 0


class PairSubject:
    """A bare pair (forward, backward) of functions on arrays.

    `backward(cotangent, *inputs, output)` returns one gradient, or one for each input; with several outputs, cotangent
    and output are tuples. It may also take the inputs as one tuple, or leave out the output.
    """

    def __init__(self, pair: Sequence[Callable[..., Any]], inputs: Sequence[Any]) -> None:
        self.forward, self.backward = pair
        self.names = [f"input {i}" for i in range(len(inputs))]
        self.gates: dict[str, tuple[str, ...]] = {}
        self.time_dim: int | None = 0
        self.given = [host.asarray(x) for x in inputs]
        self.movable = len(self.given)
        self.arrays = [x.astype("float64") for x in self.given]
        for i, x in enumerate(self.given):
            if x.dtype.kind != "f":
                raise TypeError(
                    f"gradcheck: input {i} is of {x.dtype}; takes floating-point inputs, close f over the others"
                )
        self._state = default_generator.get_state()

    def outputs(self, arrays: Arrays) -> Any:
        """What the forward function returns, an array or a tuple of them."""
        with replayed(self._state):
            result = self.forward(*arrays)
        several = isinstance(result, (tuple, list))
        ys = [host.asarray(y) for y in (result if several else (result,))]
        if any(y.dtype.kind not in "fc" for y in ys):
            raise TypeError(
                f"gradcheck: the forward function must return floating-point arrays, it gave {type(result).__name__}"
            )
        return tuple(ys) if several else ys[0]

    def values(self, arrays: Arrays) -> list[Array]:
        y = self.outputs([a.copy() for a in arrays])
        return list(y) if isinstance(y, tuple) else [y]

    def gradients(self, arrays: Arrays, cotangents: Arrays) -> list[Array | None]:
        y = self.outputs(arrays)
        g = tuple(cotangents) if isinstance(y, tuple) else cotangents[0]
        with replayed(self._state):
            result = self.backward(*self._arguments(g, arrays, y))
        found = list(result) if isinstance(result, (tuple, list)) else [result]
        if len(found) != len(arrays):
            raise TypeError(f"gradcheck: backward returned {len(found)} gradients for {len(arrays)} inputs")
        return [None if x is None else host.asarray(x) for x in found]

    def _arguments(self, g: Any, arrays: Arrays, y: Any) -> list[Any]:
        """In the order that the backward function takes them."""
        try:
            parameters = inspect.signature(self.backward).parameters
        except (TypeError, ValueError):  # a builtin
            return [g, *arrays, y]
        names, kinds = list(parameters), [p.kind for p in parameters.values()]
        positional = [
            k for k in kinds if k in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        ]
        count = len(positional)
        if inspect.Parameter.VAR_POSITIONAL in kinds or count == len(arrays) + 2:
            return [g, *arrays, y]
        if count == 3 and (
            len(arrays) != 2 or names[1] in ("inputs", "xs", "args") or names[2] in ("y", "output", "out")
        ):
            return [g, tuple(arrays), y]
        if count == len(arrays) + 1:
            return [g, *arrays]
        raise TypeError(
            f"gradcheck: backward takes {count} arguments; it must take the cotangent, the {len(arrays)} inputs and "
            "the output"
        )


def gates_of(module: Any, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """For each recurrent weight or bias by name, which gates stand one below the other in it."""
    found = {}
    for prefix, part in module.named_modules():
        if hasattr(part, "gates"):
            for name in names:
                owner, _, last = name.rpartition(".")
                if owner == prefix and last.startswith(("weight_ih", "weight_hh", "bias_")):
                    found[name] = tuple(part.gates)
    return found


def time_dim_of(f: Any) -> int | None:
    """Which dimension of sequences its recurrent layers take for time: the first unless all say otherwise."""
    parts = f.named_modules() if hasattr(f, "named_modules") else ()
    found = {int(part.batch_first) for _, part in parts if hasattr(part, "batch_first")}
    return found.pop() if len(found) == 1 else None if found else 0


def subject_of(f: Any, inputs: Sequence[Any]) -> Subject:
    """What `gradcheck` was given, as a subject.

    Raises:
        TypeError: if it is nothing that can be checked; the message says what can.
    """
    if isinstance(f, (tuple, list)):
        if len(f) != 2 or not all(callable(part) for part in f):
            raise TypeError("gradcheck: a pair must be two functions, (forward, backward)")
        return PairSubject(f, inputs)
    if _is_torch(f) or any(_is_torch(x) for x in inputs):
        from .torch_subject import TorchSubject

        return TorchSubject(f, inputs)
    if not callable(f):
        raise TypeError(
            f"gradcheck: takes a function of tensors, a Module, or a pair (forward, backward), got a {type(f).__name__}"
        )
    return TensorSubject(f, inputs)


def _is_torch(x: Any) -> bool:
    kinds = x.__mro__ if isinstance(x, type) else type(x).__mro__
    return not is_array(x) and any(kind.__module__.partition(".")[0] == "torch" for kind in kinds)
