"""The few words that each rank sends before a message, so that all know whether they mean the same one."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

ENDS = "end"  # what a rank says when its program is over
STOP, STATIC = 1, 2  # flags
_FORMAT = struct.Struct("<QqqdqqQQ")


class Header(NamedTuple):
    """What a rank is about to do.

    Attributes:
        kind, what: hashes of the operation's name and of the shapes and dtypes of its arrays.
        step: how many times this rank has averaged gradients.
        weight: the weight of its gradients.
        flags: STOP if it asks to stop, STATIC if a compiled program sends.
        present: a hash of which parameters have a gradient.
        seed, offset: where the common generator stands.
    """

    kind: int
    what: int
    step: int
    weight: float
    flags: int
    present: int
    seed: int
    offset: int

    @classmethod
    def of(
        cls, kind: str, what: str, step: int, weight: float, flags: int, present: int, seed: int, offset: int
    ) -> Header:
        return cls(zlib.crc32(kind.encode()), zlib.crc32(what.encode()), step, weight, flags, present, seed, offset)

    def packed(self) -> bytes:
        return _FORMAT.pack(*self)

    @classmethod
    def unpacked(cls, words: bytes) -> Header:
        return cls(*_FORMAT.unpack(words))

    @property
    def has_generator(self) -> bool:
        return bool(self.seed or self.offset)

    @property
    def matches(self) -> tuple[int, ...]:
        """What has to be the same on all ranks; where the generator stands does not matter to one without data."""
        return (self.kind, self.what, self.step)
