"""What is printed: to a terminal what can be seen, to a file or a pipe as it is, and nothing if nobody reads."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Surviving:
    """A standard stream whose other end may go away: from then on what is written is dropped.

    Attributes:
        lost: the error that the first write met which failed, or None.
    """

    def __init__(self, stream: Any) -> None:
        self._stream, self.lost = stream, None if stream else OSError("there is none")

    def write(self, text: str) -> int:
        self._attempt("write", text)
        return len(text)

    def flush(self) -> None:
        self._attempt("flush")

    def isatty(self) -> bool:
        return not self.lost and bool(self._stream.isatty())

    def _attempt(self, method: str, *arguments: str) -> None:
        if self.lost:
            return
        try:
            getattr(self._stream, method)(*arguments)
        except (OSError, ValueError) as error:  # a pipe nobody reads, a full disk, a terminal that was closed
            self.lost = error if isinstance(error, OSError) else OSError(str(error))
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # what is in the buffer must not fail again at exit
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def surviving_output() -> Iterator[None]:
    """Standard output and error as `Surviving`; a file or a pipe gets UTF-8 whatever the locale says."""
    before = sys.stdout, sys.stderr
    settings = []
    for stream in before:
        if hasattr(stream, "reconfigure"):
            settings.append((stream, stream.encoding, stream.errors))
            if stream.isatty():
                stream.reconfigure(errors="backslashreplace")  # a terminal may lack characters that the model has
            else:
                stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    sys.stdout, sys.stderr = Surviving(before[0]), Surviving(before[1])
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before
        for stream, encoding, errors in settings:
            with suppress(OSError, ValueError):
                stream.reconfigure(encoding=encoding, errors=errors)


def lost_output() -> OSError | None:
    """Why standard output is gone, if it is."""
    return getattr(sys.stdout, "lost", None)


def say(text: str = "", end: str = "\n") -> None:
    """Print at once."""
    print(text, end=end, flush=True)


def escaped(text: str) -> str:
    """A text to look at: characters that would steer a terminal, and bytes that are no text, as escapes."""
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def shown(text: str) -> str:
    """A model's text for standard output: on a terminal to look at, elsewhere as it is."""
    return escaped(text) if sys.stdout.isatty() else text


def minutes(seconds: float) -> str:
    """Seconds as m:ss."""
    whole = max(round(seconds), 0)
    return f"{whole // 60}:{whole % 60:02d}"


def command(*arguments: object, device: str) -> str:
    """What to type to run this program with these arguments, from the same folder."""
    arguments += ("--device", device) if device != "cpu" else ()
    python = os.path.relpath(sys.executable)
    if python.startswith(os.pardir):
        python = "python" if shutil.which("python") == sys.executable else sys.executable
    return shlex.join([python, "-m", "examples.char_lm", *map(str, arguments)])
