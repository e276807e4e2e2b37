"""JAX's functions under this checker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..backend import Array, array_module
from .arguments import Arguments, flat_outputs
from .state import Surroundings, generators, restore_generators
from .subjects import BACKWARD, FORWARD, Watch, reported

host: Any = array_module(0.0)


class JaxSubject:
    """A function of JAX's arrays, `custom_vjp` and jitted ones among them, checked in double precision.

    Raises:
        ImportError: without JAX.
    """

    f: Callable[..., Any]
    arguments: Arguments
    surroundings: Surroundings
    names: list[str]
    movable: int
    layouts: list[Any]
    given: list[Any]

    def __init__(self, f: Callable[..., Any], arguments: Arguments) -> None:
        import jax

        self._jax, self.f, self.arguments = jax, f, arguments
        self.names, self.movable = arguments.names, len(arguments.names)
        self.gates: dict[str, tuple[str, ...]] = {}
        self.time_dim: int | None = 0
        self.layouts = self.given = [host.array(x) for x in arguments.variables]
        self.given = [a.astype("float32") if a.dtype.itemsize < 4 else a for a in self.given]  # bfloat16 is not NumPy's
        self.arrays: list[Any] = [a.astype("float64") for a in self.given]
        self.surroundings = Surroundings(f)
        self._generators = generators()

    def _of(self, *xs: Any) -> list[Any]:
        """The floating-point outputs."""
        jax = self._jax
        result = self.f(*self.arguments.filled(xs))
        ys = flat_outputs(result, lambda y: isinstance(y, jax.Array) and y.dtype.kind in "fc")
        if not ys:
            raise TypeError(f"gradcheck: the function must return an array, it returned {type(result).__name__}")
        return ys

    def values(self, arrays: Sequence[Array]) -> list[Array]:
        restore_generators(self._generators)
        try:
            with self._jax.enable_x64(True):
                return [host.array(y) for y in self._of(*[self._jax.numpy.asarray(a) for a in arrays])]
        finally:
            self.surroundings.put_back()

    def gradients(
        self, arrays: Sequence[Array], cotangents: Sequence[Array], watch: Watch | None = None
    ) -> list[Array | None]:
        jax = self._jax
        restore_generators(self._generators)
        try:
            with jax.enable_x64(True):
                with reported(FORWARD):
                    ys, pull = jax.vjp(self._of, *[jax.numpy.asarray(a) for a in arrays])
                with reported(BACKWARD):
                    found = pull([jax.numpy.asarray(w).astype(y.dtype) for w, y in zip(cotangents, ys, strict=True)])
                gradients = [host.array(g) for g in found]
        finally:
            self.surroundings.put_back()
        if watch is not None:  # what JAX gave cannot be changed
            watch.raw, watch.inputs = list(gradients), list(arrays)
            watch.cotangents = list(cotangents)
            watch.outputs = watch.computed = [host.array(y) for y in ys]
        return list(gradients)
