"""In-place reuse: results take the buffers of dead operands.

A kernel reads an element of all its operands before it writes that element of any result: so a result may reuse the
buffer of an operand whose last use is in that kernel. Part by part, the gates of a recurrent network reuse the buffer
of the product that they are slices of, and their gradients reuse theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from ..operations import UFUNCS, VIEWS, base_of
from ..program import Instr, Var

Alias = tuple[Var, tuple[Any, ...]]  # in which other one, and the index of it there
_IN_PLACE = UFUNCS | {"sigmoid"}  # what NumPy does right where the result is one of the operands
_ELEMENTWISE = _IN_PLACE | {"where", "cast", "copy"}
_CHANGED = {"update", "scatter_add"}  # their first operand, partly overwritten
_Span = tuple[int, int]
_Rectangle = tuple[_Span, _Span]  # rows and columns


class _SubBuffer(NamedTuple):
    """A value that lives in a rectangle of a larger buffer, between its definition and its last use."""

    var: Var
    where: _Rectangle
    first_def: int
    last_use: int


_In = tuple[_Span, _SubBuffer]


class InplaceReuse:
    """Finds which results can reuse which buffers, and adds them to `aliases`.

    Args:
        instrs: the operations.
        times: for each operation, when it happens: those with one number are one kernel.
        external: what has no buffer in the plan: inputs, constants, and values that live inside one kernel only.
        outputs: what is live to the end.
        aliases: for each value in another one's buffer, which and where; at first the pieces of `concat`s.
        allow_strided: whether a result may be put into rows that are not contiguous.
    """

    def __init__(
        self,
        instrs: list[Instr],
        times: Sequence[int],
        external: Collection[Var],
        outputs: Collection[Var],
        aliases: dict[Var, Alias],
        allow_strided: bool = True,
    ) -> None:
        self._external, self._outputs, self._aliases = external, set(outputs), aliases
        self._producers = {instr.out: instr for instr in instrs}
        self._time = {instr.out: now for instr, now in zip(instrs, times, strict=True)}
        self._kernels: dict[int, list[Instr]] = {}  # by time: the operations of each
        self._readers: dict[Var, list[Instr]] = {}
        for instr, now in zip(instrs, times, strict=True):
            if instr.op not in VIEWS:
                self._kernels.setdefault(now, []).append(instr)
            for v in instr.inputs():
                self._readers.setdefault(v, []).append(instr)
        self._last_use = self._last_uses(instrs)
        self._sub_buffers: dict[Var, list[_SubBuffer]] = {}
        self._filled = {base for base, _ in aliases.values()}  # with pieces, which may be needed longer than it
        for instr in instrs if allow_strided else ():
            self._reuse_slices(instr.out)
        for instr in instrs:
            if instr.op == "concat":
                self._reuse_for_concat(instr.out)
        self._replace_all(instrs)

    def _last_uses(self, instrs: list[Instr]) -> dict[Var, int]:
        """When each Var, or a view of it, is read for the last time."""
        end = dict.fromkeys(self._outputs, len(instrs))
        for instr in reversed(instrs):
            now = self._time[instr.out]
            then = end.get(instr.out, now) if instr.op in VIEWS else now
            for v in instr.inputs():
                end[v] = max(end.get(v, -1), then)
        return end

    # --- a matrix read slice by slice: what is computed of the slices reuses its buffer ---

    def _reuse_slices(self, parent: Var) -> None:
        """Put what is computed of the slices of a matrix into its buffer, if that fills all of it."""
        made = self._producers[parent]
        if len(parent.shape) != 2 or made.op in VIEWS or parent in self._external or parent in self._outputs:
            return
        if parent in self._filled:
            return
        slices = self._slices_read(parent, ((0, parent.shape[0]), (0, parent.shape[1])))
        if slices is None or not _tiles([where for _, where in slices], parent.shape):
            return
        sub_buffers: list[_SubBuffer] = []
        for sliced, where in slices:
            reuse = self._result_for_slice(sliced, {t.var for t in sub_buffers})
            if reuse is None:
                return
            sub_buffers.append(
                _SubBuffer(reuse, where, self._time[reuse], self._last_use.get(reuse, self._time[reuse]))
            )
        self._sub_buffers[parent] = sub_buffers
        self._aliases.update({t.var: (parent, tuple([slice(*span) for span in t.where])) for t in sub_buffers})

    def _slices_read(self, v: Var, where: _Rectangle) -> list[tuple[Var, _Rectangle]] | None:
        """The slices in which it is read, and where they lie; None if it is read in other ways."""
        found: list[tuple[Var, _Rectangle]] = []
        for reader in self._readers.get(v, ()):
            cut = _cut(where, reader) if reader.op == "slice" else None
            if cut is None or reader.out in self._outputs:
                return None
            ops = {r.op for r in self._readers.get(reader.out, ())}
            inner = self._slices_read(reader.out, cut) if ops == {"slice"} else [(reader.out, cut)]
            if inner is None:
                return None
            found += inner
        return found

    def _result_for_slice(self, sliced: Var, taken: set[Var]) -> Var | None:
        """The first result of the kernel in which a slice has its last use that can be strided."""
        readers = self._readers.get(sliced, ())
        if not readers or any(r.op in VIEWS for r in readers):
            return None
        descendants = {sliced}
        kernel = self._kernels[self._last_use[sliced]]
        if not _in_place(kernel):
            return None
        for instr in kernel:
            if descendants.isdisjoint(instr.inputs()):
                continue
            out = instr.out
            descendants.add(out)
            alike = (out.shape, out.dtype) == (sliced.shape, sliced.dtype)
            if alike and self._is_free(out) and out not in taken and self._read_by_elements(out):
                return out
        return None

    def _is_free(self, v: Var) -> bool:
        return v not in self._aliases and v not in self._external and v not in self._outputs

    def _read_by_elements(self, v: Var) -> bool:
        """Whether all that reads it takes rows that do not follow each other in memory."""
        readers = self._readers.get(v, ())
        return all(r.op in _ELEMENTWISE or (r.op == "slice" and self._read_by_elements(r.out)) for r in readers)

    # --- a concat, in the buffer of a dead matrix ---

    def _reuse_for_concat(self, concat: Var) -> None:
        """Put a `concat` into the buffer of a matrix, each piece once what it overwrites is dead."""
        pieces = (
            self._pieces(concat, ((0, 0), (0, 0))) if len(concat.shape) == 2 and concat not in self._aliases else None
        )
        if pieces is None:
            return
        for parent in self._sub_buffers:
            if parent in self._aliases or (parent.shape, parent.dtype) != (concat.shape, concat.dtype):
                continue  # what lies in something itself is looked at with that
            if self._fits(pieces, [*self._all_in(parent)]):
                self._aliases[concat] = (parent, (Ellipsis,))
                self._close(parent)  # one is enough
                return

    def _close(self, parent: Var) -> None:
        for t in self._sub_buffers.pop(parent, ()):
            self._close(t.var)

    def _pieces(self, concat: Var, corner: _Rectangle) -> list[_SubBuffer] | None:
        """What is made in its place within a `concat`, and when, from the inside out; None if that is not all."""
        found: list[_SubBuffer] = []
        axis = self._producers[concat].params["axis"]
        at = [corner[0][0], corner[1][0]]
        for piece in self._producers[concat].args:
            if self._aliases.get(piece, (None,))[0] is not concat or len(piece.shape) != 2:
                return None
            where = ((at[0], at[0] + piece.shape[0]), (at[1], at[1] + piece.shape[1]))
            at[axis] += piece.shape[axis]
            if self._producers[piece].op == "concat":
                inner = self._pieces(piece, where)
                if inner is None:
                    return None
                found += inner
            else:
                found.append(_SubBuffer(piece, where, self._time[piece], len(self._time)))
        return found

    def _all_in(self, parent: Var, down: int = 0, right: int = 0, band: _Span | None = None) -> Iterator[_In]:
        """The sub-buffers, and theirs in turn, each with the rows of the one that lies in the matrix itself."""
        for t in self._sub_buffers.get(parent, ()):
            (top, bottom), (left, end) = t.where
            where = ((top + down, bottom + down), (left + right, end + right))
            yield band or where[0], t._replace(where=where)
            yield from self._all_in(t.var, where[0][0], where[1][0], band or where[0])

    def _fits(self, pieces: list[_SubBuffer], sub_buffers: list[_In]) -> bool:
        """Whether each piece is defined after the last use of the sub-buffers that it overwrites."""
        in_rows: dict[_Span, list[_SubBuffer]] = {}
        for band, t in sub_buffers:
            in_rows.setdefault(band, []).append(t)
        for piece in pieces:
            rows, (left, right) = piece.where
            there = in_rows.get(rows, [])
            if not there:
                return False
            for t in there:
                beside = t.where[1][1] <= left or right <= t.where[1][0]
                if beside or t.where[0][1] <= rows[0] or rows[1] <= t.where[0][0] or t.last_use < piece.first_def:
                    continue
                direct = all(r.op not in VIEWS for r in self._readers.get(t.var, ()))
                last = t.last_use == piece.first_def and t.where == piece.where and direct
                if not last or not _in_place(self._kernels[piece.first_def]):
                    return False
        return True

    # --- a result in the buffer of a dead operand ---

    def _replace_all(self, instrs: list[Instr]) -> None:
        bases: dict[Var, Var] = {}  # the value whose buffer each one has
        last_use: dict[Var, int] = {}  # of each buffer
        for instr in instrs:
            for v in (*instr.inputs(), instr.out):
                if v not in bases:
                    bases[v] = base_of(v, self._producers, self._aliases)
                    last_use[bases[v]] = max(last_use.get(bases[v], -1), self._last_use.get(v, -1))
        # what begins where its buffer does
        own_buffer = {v for v in bases.values() if v in self._producers and v not in self._external}
        for now, kernel in self._kernels.items():
            if len(kernel) == 1 and kernel[0].op in _CHANGED:
                self._change(kernel[0], now, bases, last_use, own_buffer)
            if not _in_place(kernel):
                continue
            operands = list(dict.fromkeys([v for instr in kernel for v in instr.inputs() if v in own_buffer]))
            for instr in kernel:
                out = instr.out
                if out not in own_buffer or not out.shape or out in self._aliases:
                    continue
                for v in operands:
                    alike = (v.shape, v.dtype) == (out.shape, out.dtype)
                    if alike and last_use[bases[v]] == now and all(r.op not in VIEWS for r in self._readers[v]):
                        self._aliases[out] = (v, (Ellipsis,))
                        last_use[bases[v]] = last_use[out]
                        bases[out] = bases[v]
                        operands.remove(v)
                        break

    def _change(
        self, instr: Instr, now: int, bases: dict[Var, Var], last_use: dict[Var, int], own_buffer: set[Var]
    ) -> None:
        """Update a buffer in place if nothing needs its old values."""
        v, out = instr.args[0], instr.out
        if v not in own_buffer or out not in own_buffer or out in self._aliases or not out.shape:
            return
        base = bases[v]
        beside = [bases[a] for a in instr.inputs() if a is not v]
        if (v.shape, v.dtype) == (out.shape, out.dtype) and last_use[base] == now and base not in beside:
            self._aliases[out] = (v, (Ellipsis,))
            last_use[base] = last_use[out]
            bases[out] = base


def _in_place(kernel: list[Instr]) -> bool:
    """Whether results may reuse the buffers of operands."""
    return len(kernel) > 1 or kernel[0].op in _IN_PLACE


def _cut(where: _Rectangle, view: Instr) -> _Rectangle | None:
    """Where a slice of what lies in a rectangle lies; None if it is no rectangle."""
    spans = []
    index = [i for i in view.params["index"] if i is not Ellipsis]
    if len(view.out.shape) != 2 or len(index) > 2:
        return None
    for i, (start, end) in zip([*index, slice(None), slice(None)], where, strict=False):
        if not isinstance(i, slice) or i.step not in (None, 1):
            return None
        first, last, _ = i.indices(end - start)
        spans.append((start + first, start + last))
    return spans[0], spans[1]


def _tiles(rectangles: list[_Rectangle], shape: tuple[int, ...]) -> bool:
    """Whether they fill a matrix, with none upon another: bands of rows, each cut in columns."""
    bands: dict[_Span, list[_Span]] = {}
    for rows, columns in rectangles:
        bands.setdefault(rows, []).append(columns)
    return _row_of(bands, shape[0]) and all(_row_of(columns, shape[1]) for columns in bands.values())


def _row_of(spans: Collection[_Span], length: int) -> bool:
    """Whether spans follow each other from 0 to the end."""
    at = 0
    for start, end in sorted(spans):
        if start != at or end <= start:
            return False
        at = end
    return at == length
