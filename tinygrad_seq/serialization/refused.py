"""The error for a file that is whole."""

from __future__ import annotations


class Refused(ValueError):
    """A file that is whole, but holds what is not read. The message goes on from the file's name."""
