"""The same parameters on all ranks: at the start, and checked later."""

from __future__ import annotations

import zlib
from typing import Any

from ..backend import backend_of
from ..backend import numpy_module as numpy
from ..graph.grad_mode import no_grad
from ..tensor import Tensor
from ..tensor.rng import default_generator
from .group import Group, current
from .message import described, outside


def broadcast_parameters(module: Any, src: int = 0) -> None:
    """Let the parameters and buffers of a module be rank `src`'s on all ranks, and the generator stand where its does.

    Args:
        module: with `state_dict()`, or a dictionary of names and tensors.

    Raises:
        DistributedError: on all ranks, if names, shapes or dtypes differ.
    """
    group, entries = _entries("broadcast_parameters", module)
    if not 0 <= src < group.size:
        raise ValueError(f"broadcast_parameters: src={src} is no rank; there are 0 to {group.size - 1}")
    if group.size == 1:
        return
    group.meet(
        "broadcast_parameters", lambda: "; ".join([f"{k} {described(x.array, group)}" for k, x in entries.items()])
    )
    with no_grad():
        for x in entries.values():
            backend = backend_of(x.array)
            host = backend.to_host(x.array).copy(order="C")
            group.link.broadcast(host, src)
            x.copy_(host)
    stands = numpy.array(default_generator.get_state(), numpy.uint64)
    group.link.broadcast(stands, src)
    default_generator.set_state((int(stands[0]), int(stands[1])))


def require_identical(module: Any) -> None:
    """Compare checksums of the parameters and buffers of a module, as before it is saved.

    Raises:
        DistributedError: on all ranks, if they are not the same to the last bit; it names the first that differs.
    """
    group, entries = _entries("require_identical", module)
    if group.size == 1:
        return
    group.meet("require_identical", lambda: "; ".join(entries))
    sums = b"".join([_checksum(x).to_bytes(4, "little") for x in entries.values()])
    found = group.exchange(sums, "require_identical")
    for i, name in enumerate(entries):
        words = [theirs[4 * i : 4 * i + 4] for theirs in found]
        if len(set(words)) > 1:
            other = next(r for r, word in enumerate(words) if word != words[0])
            group.fail(
                f"after step {group.step}, {name} is not on rank {other} what it is on rank 0; a rank has changed it "
                "on its own: average gradients before every step, and begin with broadcast_parameters()"
            )


def _entries(name: str, module: Any) -> tuple[Group, dict[str, Tensor]]:
    group = current(name)
    outside(name)
    entries = module.state_dict() if hasattr(module, "state_dict") else module
    if not isinstance(entries, dict) or not all(isinstance(x, Tensor) for x in entries.values()):
        raise TypeError(f"{name}: takes a module or a dictionary of tensors, got a {type(module).__name__}")
    return group, entries


def _checksum(x: Tensor) -> int:
    return zlib.crc32(backend_of(x.array).to_host(x.array).tobytes())
