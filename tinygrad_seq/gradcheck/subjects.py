"""What is checked: a function of arrays with derivatives of its own, wherever they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..autodiff import recorded_sweep, sweep
from ..backend import Array, array_module, backend_of, is_array
from ..graph import Value
from ..graph.device import device as Device
from ..graph.grad_mode import enable_grad, no_grad
from ..tensor import Tensor, as_tensor, tensor
from .arguments import Arguments, flat_outputs
from .state import Surroundings, generators, restore_generators

host: Any = array_module(0.0)
Arrays = Sequence[Array]


@dataclass
class Watch:
    """What a backward pass was given, as it was before and after.

    Attributes:
        inputs, cotangents: afterwards.
        outputs: afterwards.
        computed: the outputs as the forward pass left them.
        raw: the gradients as they were returned, not copied, whatever their dtype.
    """

    inputs: list[Array] = field(default_factory=list)
    cotangents: list[Array] = field(default_factory=list)
    outputs: list[Array] = field(default_factory=list)
    computed: list[Array] = field(default_factory=list)
    raw: list[Any] = field(default_factory=list)


class Raised(Exception):
    """The function, or its backward pass, raises where a gradient is wanted; the message says which, and what."""


@contextmanager
def reported(who: str) -> Iterator[None]:
    """What the user's code raises inside is a finding."""
    try:
        yield
    except Raised:
        raise
    except Exception as error:
        raise Raised(f"{who} raises {type(error).__name__}: {error}") from error


FORWARD, BACKWARD = "the function, where a gradient is wanted,", "the backward pass"


class Subject(Protocol):
    """A function, seen from outside. Arrays are the host's, and are not copied on the way in.

    Attributes:
        names: of the inputs to differentiate by.
        arrays: their values, in float64.
        given: the same in the dtypes in which they were given.
        layouts: the same in the memory in which they were given.
        gates: for the inputs that hold the gates of a recurrent network one below the other, which; by name.
        time_dim: which of the three dimensions of a sequence counts the time steps; None if that is not known.
        movable: how many of the inputs, from the first on, may be given other values: not parameters.
        surroundings: what else the function may touch.
    """

    names: list[str]
    arrays: list[Array]
    given: list[Array]
    layouts: list[Array]
    gates: dict[str, tuple[str, ...]]
    time_dim: int | None
    movable: int
    surroundings: Surroundings

    def values(self, arrays: Arrays) -> list[Array]:
        """The floating-point outputs."""

    def gradients(self, arrays: Arrays, cotangents: Arrays, watch: Watch | None = None) -> list[Array | None]:
        """What the function says its gradients are; None where it says nothing.

        Raises:
            Raised: if the function or its backward pass does.
        """


class TensorSubject:
    """A function of tensors, or a Module, whose parameters are inputs as well.

    Args:
        owner: the module whose parameters to look at, if it is not f.
    """

    f: Callable[..., Any]
    arguments: Arguments
    surroundings: Surroundings
    movable: int

    def __init__(self, f: Callable[..., Any], arguments: Arguments, owner: Any = None) -> None:
        self.f, self.arguments = f, arguments
        owner = f if owner is None else owner
        given = [
            x.detach() if isinstance(x, Tensor) else tensor(x) if hasattr(x, "dtype") else Tensor(x)
            for x in arguments.variables
        ]
        self._count = self.movable = len(given)
        self.names: list[str] = list(arguments.names)
        self.parameters: list[Tensor] = []
        self.gates: dict[str, tuple[str, ...]] = {}
        if hasattr(owner, "named_parameters"):
            for name, parameter in owner.named_parameters():
                if parameter.requires_grad and arguments.wants(name):
                    self.names.append(name)
                    self.parameters.append(parameter)
            self.gates = gates_of(owner, self.names)
        self.time_dim: int | None = time_dim_of(owner)
        tensors = [*given, *self.parameters]
        self.devices: list[Any] = [x.device for x in tensors]
        self.layouts: list[Any] = [backend_of(x.array).to_host(x.array) for x in tensors]
        self.given: list[Any] = [host.array(a, order="C") for a in self.layouts]
        self.arrays: list[Any] = [a.astype("float64") for a in self.given]
        self.surroundings = Surroundings(f, apart_from=self.parameters)
        self._generators = generators()

    @contextmanager
    def _in_place(self, tensors: Sequence[Tensor]) -> Iterator[list[Any]]:
        """The arguments; inside, the parameters are the rest of the tensors."""
        kept = [(p, p.array, p.node) for p in self.parameters]
        restore_generators(self._generators)
        try:
            for parameter, tensor in zip(self.parameters, tensors[self._count :], strict=True):
                parameter.array, parameter.node = tensor.array, tensor.node
            yield self.arguments.filled(list(tensors[: self._count]), _constant)
        finally:
            for parameter, array, node in kept:
                parameter.array, parameter.node = array, node
            self.surroundings.put_back()

    def tensors(self, arrays: Arrays) -> list[Tensor]:
        """Arrays as tensors, each on the device of its input."""
        return [
            Tensor.wrap(a if device.type == "cpu" else Device(device).backend.asarray(a, None, device.index))
            for a, device in zip(arrays, self.devices, strict=True)
        ]

    def values(self, arrays: Arrays) -> list[Array]:
        if any(a.dtype.kind == "c" for a in arrays):  # all complex or none: a gradient is cast to its input's dtype
            arrays = [a.astype("complex128") for a in arrays]
        with no_grad(), self._in_place(self.tensors(arrays)) as xs:
            return [_on_host(y) for y in floating_outputs(self.f(*xs))]

    def gradients(self, arrays: Arrays, cotangents: Arrays, watch: Watch | None = None) -> list[Array | None]:
        """As `backward` leaves them in `.grad`: the rules are given arrays."""
        tensors = [x.requires_grad_() for x in self.tensors(arrays)]
        nodes: list[Any] = [x.node for x in tensors]
        with enable_grad(), self._in_place(tensors) as inputs:
            with reported(FORWARD):
                result = self.f(*inputs)
            ys = floating_outputs(result)
            computed = [_on_host(y) for y in ys] if watch is not None else []
            weights = [_cotangent(w, y) for w, y in zip(cotangents, ys, strict=True)]
            roots = [(y.node, w.array) for y, w in zip(ys, weights, strict=True) if y.node is not None]
            with no_grad(), reported(BACKWARD):  # as in a program's; recorded, it is looked at by itself
                found = sweep(roots, nodes)
            if watch is not None:
                watch.raw = [found.get(node) for node in nodes]
                watch.inputs, watch.cotangents = [_on_host(x) for x in tensors], [_on_host(w) for w in weights]
                watch.outputs, watch.computed = [_on_host(y) for y in ys], computed
            return [None if node not in found else _on_host(Tensor.wrap(found[node])) for node in nodes]

    def recorded(self, tensors: Sequence[Tensor], cotangents: Sequence[Any]) -> list[Tensor | None]:
        """The gradients as tensors, which can be differentiated in turn: the rules are given tensors."""
        with enable_grad():
            xs = [x if x.node is not None else x.detach().requires_grad_() for x in tensors]
            with self._in_place(xs) as inputs:
                with reported(FORWARD):
                    result = self.f(*inputs)
                ys = floating_outputs(result)
                roots = [
                    (y.node, as_tensor(w, like=y).to(y.device).to(y.dtype))
                    for y, w in zip(ys, cotangents, strict=True)
                    if y.node is not None
                ]
                targets = [x.node for x in xs if x.node is not None]
                with reported(BACKWARD):
                    found = recorded_sweep(roots, targets, retain_graph=True, value_class=Tensor)
        return [found.get(x.node) if x.node is not None else None for x in xs]


class SecondOrder(TensorSubject):
    """The gradients of another subject as a function of its inputs and of the cotangents."""

    gates: dict[str, tuple[str, ...]]
    time_dim: int | None
    movable: int

    def __init__(self, first: TensorSubject, cotangents: Arrays) -> None:
        count = len(first.arrays)

        def gradients(*given: Tensor) -> list[Tensor]:
            found = first.recorded(given[:count], list(given[count:]))
            return [x * 0 if g is None else g for g, x in zip(found, given[:count], strict=True)]

        device = first.devices[0] if first.devices else None
        weights = [tensor(w, device=device) for w in cotangents]
        super().__init__(gradients, Arguments([*first.tensors(first.arrays), *weights]))
        self.names: list[str] = [*first.names, *[f"cotangent of output {k}" for k in range(len(cotangents))]]
        self.gates, self.time_dim, self.movable = first.gates, first.time_dim, 0


def _constant(x: Any) -> Any:
    """A constant as a function of tensors takes it."""
    return as_tensor(x) if is_array(x) else x


def _on_host(x: Tensor) -> Array:
    return host.array(backend_of(x.array).to_host(x.array))


def _cotangent(w: Array, y: Tensor) -> Tensor:
    if w.dtype == y.dtype and y.device.type == "cpu":
        return Tensor.wrap(w)  # as it lies in memory
    return as_tensor(w).to(y.device).to(y.dtype)


def floating_outputs(result: Any) -> list[Tensor]:
    """The floating-point tensors that a function returned.

    Raises:
        TypeError: if there is none.
    """
    tensors = flat_outputs(result, lambda y: isinstance(y, Value) and y.array.dtype.kind in "fc")
    if not tensors:
        raise TypeError(
            f"gradcheck: the function must return a floating-point tensor, it returned {type(result).__name__}"
        )
    return tensors


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
