"""Giving a tensor other numbers, all or some: in its memory, noted so that no gradient is wrong, or as a new result."""

from __future__ import annotations

from sys import getrefcount
from typing import TYPE_CHECKING, Any, NamedTuple

from ..backend import Array, array_module, is_array
from ..backend.dispatch import at, several_gpus
from ..graph import Leaf, Node, Value, recomputation
from ..graph.conversion import require_fit, to_array
from ..graph.device import device_of
from ..graph.errors import MISTAKES, explained, require_numbers
from ..graph.grad_mode import is_grad_enabled
from ..graph.hooks import Retained
from ..graph.saved_tensors import is_alone, is_shared, is_writable, owner_of, unshare_storage, version_counter
from ..graph.tracing_hook import tracers
from ..ops.assign import INJECTIVE_VIEWS, Steps, require_once, setitem
from ..ops.elementwise import where
from ..ops.index import Index, getitem, resolved, with_arrays
from .operators import Operand

if TYPE_CHECKING:
    from ..tensor import Tensor


class Path(NamedTuple):
    """How a tensor is taken of the outermost one that it is a view of, and that somebody still has.

    Attributes:
        base: that one; the tensor itself if it is no view.
        steps: from there to the tensor.
        views: the tensor and those between that somebody still has, each with the steps that lead there.
    """

    base: Any
    steps: Steps
    views: list[tuple[Any, Steps]]

    @staticmethod
    def to(tensor: Any) -> Path:
        taken: list[Any] = []
        view_of = getattr(tensor, "view_of", None)
        while view_of is not None:
            taken.append(view_of)
            view_of = view_of[3]
        taken.reverse()
        bases = [(n, base) for n, (reference, *_) in enumerate(taken) if (base := reference()) is not None]
        alive = [
            (n, x) for n, x in bases if getattr(x, "shared_storage", None) is tensor.shared_storage
        ]  # else it has another array
        if not alive:
            return Path(tensor, (), [])
        start, base = alive[0]
        steps = tuple([(function, params) for _, function, params, _ in taken[start:]])
        return Path(base, steps, [*[(view, steps[: n - start]) for n, view in alive[1:]], (tensor, steps)])

    def with_views_of(self, other: Path) -> Path:
        """This path, with those views that only the other one, to another view of the same base, leads to."""
        known = {id(view) for view, _ in self.views}
        others = [entry for entry in other.views if id(entry[0]) not in known]
        return self._replace(views=[*self.views, *others]) if other.base is self.base else self

    def is_plain(self) -> bool:
        """Whether it can be said where in the base each view is, and each belongs to the graph as the base does."""
        functions = {function for _, steps in self.views for function, _ in steps}
        return not self.views or (
            functions.issubset(INJECTIVE_VIEWS)
            and not getattr(self.base.shared_storage, "reshaped", False)
            and all((view.node is None) == (self.base.node is None) for view, _ in self.views)  # not under no_grad
        )


class Assignment(Value):
    """Assignment to a tensor or to an index of it.

    Where no gradient is at stake, the memory changes, and with it whatever shares it. A change that is recorded makes
    the tensor a new result instead, and what it is a view of; it is refused where others alias it.
    """

    __slots__ = ()
    array: Array
    node: Node | None

    def _assign(self, new: Tensor, name: str, *operands: Any) -> Tensor:
        """Give this tensor the numbers of `new`: in its memory, or while recording by becoming the new result.

        Args:
            operands: what `new` was computed from, which may be views of this memory.
        """
        if new.shape != self.array.shape:
            raise ValueError(
                f"{name}: the result has shape {new.shape}, which does not fit in place of {self.array.shape}"
            )
        if self.array.dtype.kind in "biu" and new.array.dtype.kind in "fc":
            raise TypeError(
                f"{name}: the result is {new.array.dtype}, which does not fit in place of {self.array.dtype}; "
                "convert the tensor first: .float()"
            )
        self._require_here(new, name)
        if new.array.dtype != self.array.dtype:
            new = new.to(self.array.dtype)
        if is_grad_enabled() and (self.node is not None or new.node is not None):
            path = self._recorded_path(name, *operands)
            if path.views:
                self._put(path, new, name)
                return self  # type: ignore[return-value]
            if new.node is None:  # still a result of what this tensor was, with a gradient of 0
                new = where(array_module(self.array).ones((), "bool"), new, self)
            theirs = _is_lent(new) or is_shared(new) or any(new is x for x in operands)
            self._become(new.clone() if theirs else new)
            unshare_storage(self)
        else:
            if not is_writable(self.array):
                raise RuntimeError(
                    f"{name}: the memory of this tensor is read-only (it is expanded, say); clone() it first"
                )
            if tracers:
                tracers[-1].captured((self,))  # it may be the first that is seen of it
            recomputation.writes(self.array)
            with at(self.array):
                array_module(self.array).copyto(self.array, new.array)
            version_counter.bump(self.array)
        return self  # type: ignore[return-value]

    def _require_here(self, value: Any, name: str) -> None:
        """Raise a RuntimeError if `value` is a tensor or an array on another device: nothing is moved in silence."""
        array = getattr(value, "array", value)
        if not is_array(array) or (type(array) is type(self.array) and not several_gpus):
            return
        here, there = device_of(self.array), device_of(array)
        if here != there:
            raise RuntimeError(f"{name}: operands are on {here} and {there}; move one with .to({str(here)!r})")

    def _recorded_path(self, name: str, *values: Any) -> Path:
        """The path to this tensor, which is about to be another result; with all views that must follow it.

        Args:
            values: what it gets, or what that is computed from: they may be views of the same memory.

        Raises:
            RuntimeError: if the change would not reach all aliases of this memory, or would go to a leaf.
        """
        path = Path.to(self)
        for value in values:
            if getattr(value, "shared_storage", 0) is getattr(self, "shared_storage", 1):
                path = path.with_views_of(Path.to(value))
        if isinstance(path.base.node, Leaf):
            what = "a view of a leaf" if path.views else "a leaf"
            raise RuntimeError(f"{name}: {what} that requires a gradient cannot be changed in place; use no_grad()")
        lent = _is_lent(self)
        if lent or not path.is_plain() or is_shared(path.base, len(path.views)):
            whose = "an array outside" if lent else "another tensor (one is a view of the other, or its detach())"
            raise RuntimeError(
                f"{name}: this tensor shares memory with {whose}, which a recorded change would not reach; clone() it "
                "first, or put parts together with cat(), stack() or where()"
            )
        return path

    def _put(self, path: Path, values: Operand, name: str, index: Index = (Ellipsis,), arrays: Any = ()) -> None:
        """Put values at an index of this tensor, by which it and what it is a view of become new results."""
        base = path.base
        reuse = is_alone(base, len(path.views)) and all(getrefcount(view.array) == 2 for view, _ in path.views)
        if reuse:
            recomputation.writes(base.array)
        try:
            new = setitem(base, values, *arrays, index=index, steps=path.steps, reuse=reuse)
        except MISTAKES as error:
            raise type(error)(str(error).replace("setitem", name, 1)) from error
        base._become(new)
        if reuse:
            version_counter.bump_unsaved(base.array)
        if not path.views:
            unshare_storage(base)
        for view, steps in path.views:
            new_view = base
            for function, params in steps:
                new_view = function(new_view, **params)
            view._become(new_view)

    def _become(self, new: Tensor) -> None:
        """Take over another tensor's numbers and graph; `retain_grad` is about what this tensor is last."""
        retained = Retained.of(self.node)
        if retained is not None and self.node is not None and new.node is not None:
            self.node.hooks = [hook for hook in self.node.hooks if hook is not retained]
            new.node.hooks = [*getattr(new.node, "hooks", ()), retained]
        self.array, self.node = new.array, new.node

    def __setitem__(self, key: Any, value: Operand) -> None:
        name = "assigning to an index"
        require_numbers((value,), f"{name}: ")
        self._require_here(value, name)
        if not hasattr(value, "shape"):
            value = require_fit(name, value, self.array.dtype)
        elif self.array.dtype.kind in "biu" and value.dtype.kind in "fc":
            raise TypeError(
                f"{name}: {value.dtype} does not fit in {self.array.dtype}; convert the tensor first: .float()"
            )
        first, index, arrays = resolved(self, key)
        if isinstance(value, Value) and _is_part(value, self, first, index):
            return  # x[key] += y has changed it already
        if is_grad_enabled() and (self.node is not None or getattr(value, "requires_grad", False)):
            part = self if first is None else getitem(self, index=first)
            part._put_recorded(index, arrays, value, name)
            return
        recomputation.writes(self.array)
        try:
            with at(self.array, value, *arrays):
                array = self.array if first is None else self.array[first]
                array[with_arrays(index, tuple(arrays))] = value.array if isinstance(value, Value) else value
        except MISTAKES as error:
            raise explained(name, error, (self, value), {}) from error
        version_counter.bump(self.array)

    def _put_recorded(self, index: Index, arrays: list[Any], value: Operand, name: str) -> None:
        """Assignment to an index, as a new result."""
        if value is self:
            value = self.clone()
        if hasattr(value, "shape") or isinstance(value, (list, tuple)):
            if not isinstance(value, Value):
                value = self.result_class.wrap(to_array(value, self.array.dtype, device_of(self.array)))
            path = self._recorded_path(name, value)
            value = value.to(self.array.dtype)
            if value.node is not None and arrays:
                require_once(self.array.shape, arrays, index)
        else:
            path = self._recorded_path(name)
        self._put(path, value, name, index, arrays)


def _is_part(value: Value, base: Any, first: Index | None, index: Index) -> bool:
    """Whether a value is `base[index]`, as a view."""
    view_of = getattr(value, "view_of", None)
    return (
        view_of is not None
        and first is None
        and view_of[0]() is base
        and value.shared_storage is getattr(base, "shared_storage", None)
        and view_of[1] is getitem
        and view_of[2]["index"] == index
        and not getattr(value.shared_storage, "reshaped", False)
    )


def _is_lent(tensor: Value) -> bool:
    """Whether somebody outside can write to the memory of a tensor."""
    return id(owner_of(tensor.array)) in version_counter.lent
