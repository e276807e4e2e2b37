"""The arguments of a checked function: containers of tensors, taken apart into the arrays to differentiate by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..backend import Array, is_array
from ..graph import Value

Wrt = int | str | Sequence[int | str] | None


class Arguments:
    """Arguments, and which of their leaves a derivative is wanted by; the others are constants.

    Attributes:
        names: of the leaves to differentiate by: "input 0", "input 1['weight']", "input 2[0]".
        variables: these leaves.

    Raises:
        TypeError: if a leaf is complex, or of integers and not excluded by `wrt`, or nothing that holds numbers.
        ValueError: if `wrt` names something that does not exist.
    """

    def __init__(self, given: Any, wrt: Wrt = None, constants: bool = False, others: Sequence[str] = ()) -> None:
        self.given: list[Any] = list(given) if isinstance(given, (tuple, list)) else [given]
        self._chosen = None if wrt is None else [wrt] if isinstance(wrt, (int, str)) else list(wrt)
        self._found: set[Any] = {n for n in self._chosen or () for name in others if _matches(n, name)}
        self._constants = constants
        self.names: list[str] = []
        self.variables: list[Any] = []
        self._shape = [self._taken_apart(x, f"input {i}", i) for i, x in enumerate(self.given)]
        missing = [n for n in self._chosen or () if n not in self._found]
        if missing:
            raise ValueError(
                f"gradcheck: wrt={missing[0]!r} names no floating-point input: takes positions of inputs, and names "
                f"out of {', '.join([*self.names, *others]) or 'none'}"
            )

    def wants(self, name: str, position: int | None = None) -> bool:
        """Whether a derivative by this leaf, input or parameter is wanted."""
        if self._chosen is None:
            return True
        hits = [n for n in self._chosen if _matches(n, name) or (position is not None and n == position)]
        self._found.update(hits)
        return bool(hits)

    def _taken_apart(self, x: Any, name: str, position: int) -> Any:
        """A container like x, with the number of its variable for each leaf, or the leaf itself if it is a constant."""
        if isinstance(x, dict):
            return {key: self._taken_apart(value, f"{name}[{key!r}]", position) for key, value in x.items()}
        if isinstance(x, (tuple, list)) and not _numbers(x):
            parts = [self._taken_apart(value, f"{name}[{k}]", position) for k, value in enumerate(x)]
            return _like(x, parts)
        if x is None or isinstance(x, (str, bool)):
            return _Constant(x)
        kind = _kind_of(x, name)
        if kind == "c":
            raise TypeError(f"gradcheck: {name} is complex; takes real floating-point inputs: give both parts as two")
        number = isinstance(x, int)
        if kind != "f" and not number:
            if self._constants or not (self._chosen is None or self.wants(name, position)):
                return _Constant(x)
            raise TypeError(
                f"gradcheck: {name} is of {getattr(x, 'dtype', type(x).__name__)}; takes floating-point inputs, close "
                "f over the others, or name those to differentiate by: wrt="
            )
        if not self.wants(name, position):
            return _Constant(x)
        self.names.append(name)
        self.variables.append(float(x) if number else x)
        return len(self.variables) - 1

    def filled(self, values: Sequence[Any], constant: Callable[[Any], Any] = lambda x: x) -> list[Any]:
        """The arguments with other values in the places of the variables."""

        def put(x: Any) -> Any:
            if isinstance(x, dict):
                return {key: put(value) for key, value in x.items()}
            if isinstance(x, (tuple, list)):
                return _like(x, [put(value) for value in x])
            return constant(x.value) if isinstance(x, _Constant) else values[x]

        return [put(x) for x in self._shape]

    def gradients(self, found: Sequence[Any]) -> list[Any]:
        """The entries of the variables out of gradients that stand in containers like those of the arguments."""
        taken: dict[int, Any] = {}

        def take(shape: Any, g: Any) -> None:
            if isinstance(shape, dict):
                for key, value in shape.items():
                    take(value, None if g is None else g[key])
            elif isinstance(shape, (tuple, list)):
                for k, value in enumerate(shape):
                    take(value, None if g is None else g[k])
            elif not isinstance(shape, _Constant):
                taken[shape] = g

        for shape, g in zip(self._shape, found, strict=True):
            take(shape, g)
        return [taken[k] for k in range(len(self.variables))]


class _Constant:
    """A leaf that is passed on as it is."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _matches(chosen: Any, name: str) -> bool:
    """Whether a name is the chosen one or a part of it: "lstm" and "input 0" have "lstm.weight" and "input 0[1]"."""
    return isinstance(chosen, str) and (name == chosen or name.startswith((f"{chosen}.", f"{chosen}[")))


def _numbers(x: Sequence[Any]) -> bool:
    """Whether a list is a (nested) list of Python numbers, of one shape, which stands for an array."""

    def shape(part: Any) -> tuple[int, ...] | None:
        if isinstance(part, (list, tuple)):
            shapes = {shape(p) for p in part}
            inner = shapes.pop() if len(shapes) == 1 else None
            return None if inner is None else (len(part), *inner)
        return () if isinstance(part, (int, float, complex)) and not isinstance(part, bool) else None

    return bool(x) and isinstance(x, list) and shape(x) is not None


def _kind_of(x: Any, name: str) -> str:
    """The kind of numbers: "f", "c", or another letter."""
    if isinstance(x, (int, float, complex)):
        return "c" if isinstance(x, complex) else "i" if isinstance(x, int) else "f"
    if isinstance(x, list):
        return "c" if any(isinstance(leaf, complex) for leaf in _flat(x)) else "f"
    dtype = getattr(x, "dtype", None)
    if dtype is None or not (isinstance(x, Value) or is_array(x) or hasattr(x, "shape")):
        raise TypeError(
            f"gradcheck: {name} is a {type(x).__name__}; takes tensors, arrays, numbers and containers of them"
        )
    kind = getattr(dtype, "kind", None)
    if kind is None:  # PyTorch's dtypes
        return "c" if dtype.is_complex else "f" if dtype.is_floating_point else "i"
    return "f" if str(dtype) == "bfloat16" else str(kind)


def _flat(x: Any) -> Iterator[Any]:
    for part in x if isinstance(x, (list, tuple)) else [x]:
        if isinstance(part, (list, tuple)):
            yield from _flat(part)
        else:
            yield part


def _like(x: Any, parts: list[Any]) -> Any:
    kind: Any = type(x)
    return kind._make(parts) if hasattr(x, "_fields") else kind(parts)


def flat_outputs(result: Any, is_output: Callable[[Any], bool]) -> list[Array]:
    """The tensors that a function returned, in whatever containers."""
    if isinstance(result, dict):
        return [leaf for value in result.values() for leaf in flat_outputs(value, is_output)]
    if isinstance(result, (tuple, list)):
        return [leaf for value in result for leaf in flat_outputs(value, is_output)]
    return [result] if is_output(result) else []
