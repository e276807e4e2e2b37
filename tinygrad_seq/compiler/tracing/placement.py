"""Where a program that is being recorded will run."""

from __future__ import annotations

from typing import Any

from ...backend import numpy as host
from ...graph.tracing_hook import CompileError


class Placement:
    """One device for all that a tracer meets.

    Attributes:
        name: what messages call the function.
        target: the backend that the program runs on.
        device: where it runs, once anything shows that.
        first_step: the first step of a scan, while it runs.
    """

    backend: Any  # for what is recorded

    def __init__(self, name: str) -> None:
        self.name = name
        self.target: Any = host
        self.device: str | None = None
        self.first_step: Any = None

    def line(self) -> str:
        """Where in the user's code we are."""
        raise NotImplementedError

    def constant(self, array: Any) -> Any:
        """An array that is the same at each call, as one under observation."""
        raise NotImplementedError

    def made(self, data: Any, dtype: Any = None) -> Any:
        """Numbers that are the same at each call, as a constant on the program's device."""
        return self.constant(self.target.asarray(data, dtype, self.index))

    @property
    def index(self) -> int:
        """Which of the devices of its type the program runs on."""
        return int((self.device or "").partition(":")[2] or 0)

    def settle(self, backend: Any, device: str, what: str) -> None:
        """A program runs where the first of its arrays is.

        Raises:
            CompileError: if another one is somewhere else.
        """
        if self.device is None:
            self.target, self.device = backend, device
        elif self.device != device:
            raise CompileError(
                f"compile: {what} on {device}, and what {self.name} met before on {self.device}; a program runs on one "
                f"device: move it before the call, with .to({self.device!r}) ({self.line()})"
            )

    def backend_on(self, device: Any) -> Any:
        """The backend for what is recorded, which is about to make something on a device."""
        self.settle(device.backend_module, str(device), "a tensor is made")
        return self.backend
