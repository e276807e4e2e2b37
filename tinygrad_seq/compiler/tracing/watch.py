"""When a tracer watches: in one thread, from where `with Watch(tracer):` begins to where it ends."""

from __future__ import annotations

import os

from ...graph.tracing_hook import tracers
from .tracer import Tracer


def _end_in_child() -> None:
    """A forked process has one thread: what others recorded when it was forked is no recording there."""
    for tracer in [*tracers]:
        if not tracer.mine():
            tracer.end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_end_in_child)


class Watch:
    """`with Watch(tracer):` records what happens inside, in this thread."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer

    def __enter__(self) -> Tracer:
        self.tracer.overlay.install()
        tracers.append(self.tracer)
        return self.tracer

    def __exit__(self, *_: object) -> None:
        self.tracer.end()
