"""Many processes that train as one: process groups on MPI and gloo, in PyTorch's names.

>>> from tinygrad_seq import distributed as dist
>>> dist.init_process_group()
>>> mine = dist.shard(12)
>>> dist.broadcast_parameters(model)
>>> ...
>>> loss.backward()
>>> dist.average_gradients(model.parameters(), weight=y.numel())
"""

from .collectives import ReduceOp, all_gather, all_reduce, barrier, broadcast
from .gradients import average_gradients, call_after_backward
from .group import DistributedError, get_node_local_rank, get_rank, get_world_size, is_initialized
from .parameters import broadcast_parameters, require_identical
from .process_group import destroy_process_group, init_process_group, is_available, request_stop, should_stop
from .sharding import shard

__all__ = [
    "DistributedError",
    "ReduceOp",
    "all_gather",
    "all_reduce",
    "average_gradients",
    "barrier",
    "broadcast",
    "broadcast_parameters",
    "call_after_backward",
    "destroy_process_group",
    "get_node_local_rank",
    "get_rank",
    "get_world_size",
    "init_process_group",
    "is_available",
    "is_initialized",
    "request_stop",
    "require_identical",
    "shard",
    "should_stop",
]
