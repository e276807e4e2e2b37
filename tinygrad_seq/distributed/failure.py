"""What happens when a rank cannot go on: it says so, once, and none of the others is left waiting."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import time
from types import TracebackType
from typing import Any

from .group import DistributedError, Group
from .header import ENDS

_PATIENCE = 10.0  # seconds in which the rank that speaks ends all


class Watchman:
    """Ends all processes of a group if one fails, whatever way it does so."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._hook = sys.excepthook
        sys.excepthook = self._failed
        atexit.register(self.leave)

    def _failed(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """An error that nobody has caught."""
        group = self._group
        if group.process != os.getpid():
            self._hook(kind, error, trace)
            return
        if isinstance(error, DistributedError):
            if not error.speaks:
                self._wait_for_the_end()
            self._hook(kind, error, trace)
        else:
            self._hook(kind, error, trace)
            cause = f"{kind.__name__}: {error}" if str(error) else kind.__name__
            _tell(f"distributed: rank {group.rank} of {group.size} failed in step {group.step + 1} ({cause}); all end")
        self._end_all()

    def leave(self) -> None:
        """The program is over: so it has to be for all."""
        group = self._group
        if group.process != os.getpid():
            return
        self.rest()
        if group.broken:  # the error was caught, and yet nothing can go on
            self._end_all() if group.rank == 0 else self._wait_for_the_end()
        try:
            group.meet(ENDS, lambda: "")
        except DistributedError as error:
            if not error.speaks:
                self._wait_for_the_end()
            _tell(str(error))
            self._end_all()
        except KeyboardInterrupt:
            self._end_all()
        group.link.close()
        group.broken = "distributed: the process group has ended; call init_process_group() for another one"

    def rest(self) -> None:
        """Watch no longer."""
        atexit.unregister(self.leave)
        if sys.excepthook == self._failed:
            sys.excepthook = self._hook

    def _wait_for_the_end(self) -> Any:
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(_PATIENCE)
        self._end_all()

    def _end_all(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        time.sleep(0.1)  # for launchers that pass words on
        self._group.link.abort()
        os._exit(1)


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
