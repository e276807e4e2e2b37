"""What is asked of a running training by signals: to stop, or to save."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

STOP = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
SAVE = [getattr(signal, name) for name in ("SIGUSR1",) if hasattr(signal, name)]


class Requests:
    """Collects Ctrl-C, SIGTERM, SIGHUP (stop) and SIGUSR1 (save), so that a step is finished before they are met.

    A step may take long, and Python's handlers wait for its end: a thread of its own answers at once. A second Ctrl-C
    stops at once.

    Attributes:
        stop: the number of the signal that asks to stop, or 0.
        save: whether to save now; whoever does so sets it back.
    """

    def __init__(self, answer: Callable[[str], None]) -> None:
        self._answer = answer
        self.stop, self.save = 0, False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Requests:
        self._read, self._write = os.pipe()
        if hasattr(os, "set_blocking"):  # on Windows only since Python 3.12
            os.set_blocking(self._write, False)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (*STOP, *SAVE):
            if number != signal.SIGINT and signal.getsignal(number) is signal.SIG_IGN:
                continue  # `nohup`
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._write)
        self._listener.join()
        os.close(self._read)

    def _note(self, number: int, _frame: object) -> None:
        if number in SAVE:
            self.save = True
        elif self.stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            self.stop = self.stop or number

    def _listen(self) -> None:
        answered = False
        while received := os.read(self._read, 64):
            if not answered and any(number in STOP for number in received):
                answered = True
                self._answer("\nfinishing this step, then saving; Ctrl-C again stops at once, without")
