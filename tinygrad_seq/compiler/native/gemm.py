"""A matrix product as calls of native functions: panels of B packed, and multiplied by rows of A."""

from __future__ import annotations

from typing import NamedTuple

from ...backend import Array
from ..memory.plan import aligned
from . import thread_pool
from .gemm_microkernel import KC, MR, Panel, multiply, pack_blocks, pack_columns, pack_rows, pack_transposed, panel_of

_TALL = 96  # rows of a piece at least, where there are many
_CALLS = 8  # of each thread, so that one that is done sooner finds something to take
_WORKSPACE = 1 << 21  # bytes for what is packed
_RATE = 250  # additions and multiplications of float32 in a nanosecond, about
_SIZE = {"f": 4, "d": 8}


class Native(NamedTuple):
    """A call of a native function: its text, and the numbers of its table."""

    text: str
    table: list[int]


class ParallelRegion(NamedTuple):
    """Native calls in any order, or at the same time, and about how many nanoseconds they take in all."""

    calls: list[Native]
    time: float


class Matrix(NamedTuple):
    """Where a matrix lies.

    Attributes:
        transposed: whether its columns lie in one piece, rather than its rows.
        ld: the elements from one of them to the next.
    """

    address: int
    transposed: bool
    ld: int

    def part(self, row: int, column: int, size: int) -> Matrix:
        """The same from an element of so many bytes on."""
        far = row + column * self.ld if self.transposed else row * self.ld + column
        return self._replace(address=self.address + far * size)

    @classmethod
    def of(cls, a: Array) -> Matrix | None:
        """None if neither its rows nor its columns lie in one piece."""
        (rows, cols), (down, right) = a.shape, [s // a.itemsize for s in a.strides]
        if any(s % a.itemsize for s in a.strides):
            return None
        address = int(a.__array_interface__["data"][0])
        if (right == 1 or cols == 1) and (down >= cols or rows == 1):
            return cls(address, False, max(down, cols))
        if (down == 1 or rows == 1) and (right >= rows or cols == 1):
            return cls(address, True, max(right, rows))
        return None


class Products:
    """Products of one program, which share the memory that packing takes."""

    def __init__(self) -> None:
        self._workspaces = [aligned(0), aligned(0)]  # for panels, and for blocks
        self._outgrown: list[Array] = []  # whose addresses other products have

    def packed(self, kind: str, b: Matrix, k: int, n: int, panels: int, start: int = 0) -> ParallelRegion:
        """B, from its row `start` on, as panels at an address."""
        nr, size = _panel(kind).nr, _SIZE[kind]
        b = b.part(start, 0, size)
        calls = []
        for left in range(0, n, nr):
            first, cols = b.part(0, left, size), min(nr, n - left)
            whole = k - k % _panel(kind).lanes if b.transposed and cols == nr else 0
            if whole:
                text = pack_transposed(_panel(kind), kind)
                calls.append(Native(text, [first.address, b.ld, panels + left * k * size, whole, cols]))
            if whole < k:
                text = (pack_columns if b.transposed else pack_rows)(_panel(kind), kind)
                panel = panels + (left * k + whole * nr) * size
                calls.append(Native(text, [first.part(whole, 0, size).address, b.ld, panel, k - whole, cols]))
        return ParallelRegion(calls, k * n * 0.1)

    def multiplied(self, kind: str, a: Matrix, panels: int, c: Matrix, m: int, n: int, k: int) -> list[ParallelRegion]:
        """C = A B, of which B is packed."""
        row = _panel(kind).nr * _SIZE[kind]
        return [
            region
            for k0 in range(0, k, KC)
            for region in self._deep(kind, a, (panels + k0 * row, k * row), c, (m, n), (k0, min(KC, k - k0)))
        ]

    def product(self, kind: str, a: Matrix, b: Matrix, c: Matrix, m: int, n: int, k: int) -> list[ParallelRegion]:
        """C = A B; so many columns of B, or of blocks of A rows, at a time, that what is packed takes little memory."""
        size = _SIZE[kind]
        most = max(_WORKSPACE // (min(k, KC) * size), 1)
        found: list[ParallelRegion] = []
        if a.transposed:
            for top in range(0, m, most):
                at = a.part(top, 0, size), b, c.part(top, 0, size)
                found += self._product(kind, *at, min(most, m - top), n, k)
        else:
            for left in range(0, n, most):
                at = a, b.part(0, left, size), c.part(0, left, size)
                found += self._product(kind, *at, m, min(most, n - left), k)
        return found

    def _product(self, kind: str, a: Matrix, b: Matrix, c: Matrix, m: int, n: int, k: int) -> list[ParallelRegion]:
        row = _panel(kind).nr * _SIZE[kind]
        workspace = self._workspace(-(-n // _panel(kind).nr) * row * min(k, KC), 0)
        found: list[ParallelRegion] = []
        for k0 in range(0, k, KC):
            depth = min(KC, k - k0)
            first, *others = self._deep(kind, a, (workspace, depth * row), c, (m, n), (k0, depth))
            pack = self.packed(kind, b, depth, n, workspace, k0)
            if others:  # blocks of A are packed meanwhile, each by the thread that multiplies with it
                half = len(pack.calls) // 2
                calls = [*pack.calls[:half], *first.calls, *pack.calls[half:]]
                found += [ParallelRegion(calls, pack.time + first.time), *others]
            else:
                found += [pack, first]
        return found

    def _deep(
        self, kind: str, a: Matrix, b: tuple[int, int], c: Matrix, sizes: tuple[int, int], ks: tuple[int, int]
    ) -> list[ParallelRegion]:
        """C = A B, or C + A B, for k from k0 on.

        Args:
            b: the address of the first panel of B, and the bytes from one to the next.
            sizes: M and N.
            ks: k0, and how many k.
        """
        (m, n), (k0, k), panel, size = sizes, ks, _panel(kind), _SIZE[kind]
        nr = panel.nr
        block = MR * k
        workspace = self._workspace(-(-m // MR) * block * size, 1) if a.transposed else 0
        threads, unit = thread_pool.size(), MR if a.transposed else 1
        pieces = min(4 * threads, m // _TALL) if m > 2 * threads * _TALL else max(min(threads, m // MR), 1)
        height = -(-m // (pieces * unit)) * unit
        width = max(-(-n // nr) * pieces // (_CALLS * threads), 1) * nr
        packs: list[Native] = []
        calls: list[Native] = []
        for top in range(0, m, height):
            rows, larger, smaller = _rows_of_blocks(min(height, m - top))
            start, ld = a.address + (top * a.ld + k0) * size, a.ld
            if a.transposed:
                start, ld = workspace + top * k * size, block
                for less, first, count in ((0, 0, larger), (1, larger, smaller)):
                    source = a.address + (k0 * a.ld + top + first * rows) * size
                    table = [source, a.ld, start + first * block * size, block, k, count]
                    packs += [Native(pack_blocks(panel, kind, rows - less), table)] * (count > 0)
            text = multiply(panel, kind, rows, a.transposed)
            for left in range(0, n, width):
                at = [b[0] + left // nr * b[1], b[1] // size, c.part(top, left, size).address, c.ld]
                tail = [k, larger, smaller, int(k0 > 0), min(width, n - left)]
                calls.append(Native(text, [start, ld, *at, *tail]))
        work = ParallelRegion(calls, m * n * k * size / (2 * _RATE))
        return [ParallelRegion(packs, m * k * 0.2), work] if packs else [work]

    def _workspace(self, size: int, which: int) -> int:
        """The address of memory of so many bytes."""
        if self._workspaces[which].size < size:
            self._outgrown.append(self._workspaces[which])
            self._workspaces[which] = aligned(size)
        return int(self._workspaces[which].ctypes.data)


def _panel(kind: str) -> Panel:
    panel = panel_of(kind)
    if panel is None:
        raise RuntimeError("compile: this CPU has no panels, and products are BLAS's")
    return panel


def _rows_of_blocks(m: int) -> tuple[int, int, int]:
    """The rows of a block, how many blocks have so many, and how many have one less."""
    blocks = -(-m // MR)
    less, larger = divmod(m, blocks)
    return (less + 1, larger, blocks - larger) if larger else (less, blocks, 0)
