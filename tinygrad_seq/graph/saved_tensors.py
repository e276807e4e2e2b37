"""Version counters: arrays saved for the backward pass must not change before it, and who else can write to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from sys import getrefcount
from typing import Any
from weakref import ref

from ..backend import Array, backend_of, is_array
from ..backend.dispatch import copied

next_number: Callable[[], int] = (
    count().__next__
)  # nodes and writes are counted together, so that it is known which came first


def is_writable(array: Array) -> bool:
    """Whether numbers can be put into this array: it is not read-only, and each element has memory of its own."""
    if not hasattr(array, "strides"):
        return True  # one that `compile` watches: its replay asks
    alone = not array.size or all(step or n < 2 for step, n in zip(array.strides, array.shape, strict=True))
    return alone and getattr(array.flags, "writeable", True)


class SharedStorage:
    """What all tensors of one storage hold, so that its reference count says how many of them are alive.

    Attributes:
        views: NumPy's arrays of this storage that the user got; missing where there are none.
        reshaped: whether one of the tensors has another shape than when the others were taken of it; missing if not.
    """

    __slots__ = ("reshaped", "views")
    views: list[ref[Array]]
    reshaped: bool


def share_storage(one: Any, *others: Any) -> None:
    """Note that other tensors alias one from now on."""
    storage: SharedStorage | None = getattr(one, "shared_storage", None)
    if storage is None:
        storage = one.shared_storage = SharedStorage()
    for other in others:
        other.shared_storage = storage


def mark_view(base: Any, view: Any, function: Any, params: dict[str, Any]) -> None:
    """Note that a tensor is a view of another one, and by what."""
    share_storage(base, view)
    view.view_of = (ref(base), function, params, getattr(base, "view_of", None))


def is_shared(tensor: Any, known: int = 0) -> bool:
    """Whether anything aliases a tensor, besides so many tensors that the caller knows of."""
    if not hasattr(tensor, "shared_storage"):
        return False
    if getrefcount(tensor.shared_storage) > 2 + known:  # the tensor's, and that of getrefcount's argument
        return True
    return any(view() is not None for view in getattr(tensor.shared_storage, "views", ()))


def is_alone(tensor: Any, views: int = 0) -> bool:
    """Whether a tensor, and so many views of it, are all that can see its memory: no other tensor and no node."""
    if not hasattr(tensor.array, "strides"):
        return False  # one that `compile` watches
    own = tensor.array.base is None and tensor.array.flags.c_contiguous and is_writable(tensor.array)
    return own and getrefcount(tensor.array) <= 2 + views  # the tensor's, and that of getrefcount's argument


def lend_view(tensor: Any, view: Array) -> None:
    """Note that the user has an array that aliases a tensor."""
    share_storage(tensor)
    others = getattr(tensor.shared_storage, "views", ())
    tensor.shared_storage.views = [*[other for other in others if other() is not None], ref(view)]


def unshare_storage(tensor: Any) -> None:
    """Note that a tensor has memory of its own now."""
    for name in ("shared_storage", "view_of"):
        if hasattr(tensor, name):
            delattr(tensor, name)


def shares_memory(a: Array, b: Array) -> bool:
    """Whether two arrays lie in the memory of one."""
    base = getattr(a, "base", None)
    return (base is not None and base is getattr(b, "base", None)) or owner_of(a) is owner_of(b)


class LastWrite:
    """When one memory was last written in place. `owner` is a weak reference to the array that has it."""

    __slots__ = ("owner", "time")

    def __init__(self, owner: ref[Any], time: int) -> None:
        self.owner, self.time = owner, time


class VersionCounter:
    """When each memory was last written in place, on the count of nodes; and which memory others can write to.

    What a node saved must not have been written since: PyTorch keeps a version beside each storage for that.

    Attributes:
        last_write: when any memory was last written.
        lent: memory that is shared with somebody outside, by id of its owner.
    """

    def __init__(self) -> None:
        self.last_write = -1
        self._of_owner: dict[int, LastWrite] = {}
        self.lent: dict[int, ref[Any]] = {}
        self._exported: dict[int, tuple[int, int]] = {}  # when, and a checksum of the numbers at that time

    def lend(self, array: Array) -> None:
        """Note that somebody else can write to the memory of this array."""
        owner = owner_of(array)
        key = id(owner)

        def forget(_: Any) -> None:
            self.lent.pop(key, None)
            self._exported.pop(key, None)

        self.lent[key] = ref(owner, forget)

    def export(self, array: Array) -> None:
        """Lend memory that was ours alone so far: nodes may have saved it, and expect its values as they are now."""
        owner = owner_of(array)
        if id(owner) not in self.lent:
            self.last_write = next_number()
            self._exported[id(owner)] = (self.last_write, backend_of(owner).checksum(owner))
        self.lend(array)

    def copy_lent_inputs(self, node: Any) -> None:
        """Let the node keep copies of lent memory, and of arrays that are no tensors'."""
        node.inputs = [
            copied(x) if (p is None and is_array(x)) or (is_array(x) and id(owner_of(x)) in self.lent) else x
            for x, p in zip(node.inputs, node.parents or (), strict=True)
        ]

    def bump(self, *arrays: Array) -> None:
        """Note that the memory of these arrays was written just now."""
        self.bump_known([self.of(array) for array in arrays])

    def bump_known(self, writes: list[LastWrite]) -> None:
        """As `bump`, for arrays whose entries the caller has kept, with the arrays."""
        self.last_write = time = next_number()
        for write in writes:
            write.time = time

    def of(self, array: Array) -> LastWrite:
        """The entry of the memory of this array."""
        owner = array if getattr(array, "base", None) is None else owner_of(array)
        key = id(owner)
        known = self._of_owner.get(key)  # it is this one's, since one that goes takes its entry along
        if known is None:
            known = self._of_owner[key] = LastWrite(ref(owner, partial(self._forget, key)), -1)
        return known

    def bump_unsaved(self, array: Array) -> None:
        """As `bump`, for memory that no node has saved: none has to be checked for it."""
        last_write = self.last_write
        self.bump(array)
        self.last_write = last_write

    def set_write_time(self, array: Array, time: int) -> None:
        """Move the last write to this memory, which was noted just now, to an earlier time."""
        self.of(array).time = time

    def _forget(self, key: int, _: Any) -> None:
        self._of_owner.pop(key, None)

    def write_time(self, memory: int) -> int:
        """When the memory with this id was last written; -1 if it was not."""
        known = self._of_owner.get(memory)
        return -1 if known is None else known.time

    def _changed(self, owner: Array, since: int) -> bool:
        """Whether memory was written after the count stood at `since`, by us or, as its checksum says, by others."""
        if self.write_time(id(owner)) > since:
            return True
        when, checksum = self._exported.get(id(owner), (-1, 0))
        return bool(when > since and backend_of(owner).checksum(owner) != checksum)

    def check(self, node: Any) -> None:
        """Raise a RuntimeError if anything that `node` saved was written after it was saved."""
        outputs = node.output if type(node.output) is tuple else (node.output,)
        for role, arrays in (("an input", node.inputs), ("the output", outputs)):
            for array in arrays:
                if is_array(array) and self._changed(owner_of(array), node.number):
                    raise RuntimeError(
                        f"backward: {role} of '{node.primitive.name}', of shape {array.shape}, was changed in place "
                        "after it was used, so its gradient would be wrong. Change it after backward(), or change a "
                        "clone() of it."
                    )


def owner_of(array: Array) -> Array:
    """The array whose memory this one is a view of; itself if it has its own."""
    base = getattr(array, "base", None)
    while base is not None:
        if is_array(base):
            array = base
        base = getattr(base, "base", None)  # of windows there is something in between that is no array
    return array


version_counter: VersionCounter = VersionCounter()
