"""Printing to terminals whose encoding lacks some characters, such as cp1252 on Windows."""

from __future__ import annotations

import sys


def escape_unprintable() -> None:
    """From now on what standard output or error cannot show is escaped, and is no error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # which a replaced stream may lack
            stream.reconfigure(errors="backslashreplace")
