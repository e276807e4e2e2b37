"""Layers over whole sequences, made of cells: the loop over layers, directions and time, written once for all."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import tinygrad_seq as tg
from tinygrad_seq import Tensor
from tinygrad_seq.graph import batch_shard
from tinygrad_seq.graph.tracing_hook import CompileError, padded

from . import functional as F
from .cells import Cell
from .containers import ModuleList
from .linear_cell import LinearCell
from .module import Module, Parameter, require_sizes
from .sequence_lengths import SequenceBatch
from .state import State, TupleState, as_state

Tensors = tuple[Tensor, ...]


class Recurrent(Module):
    """A cell applied step by step to sequences, in several layers, one or both directions.

    x (T, B, F) -> output (T, B, O·D), and the state after the last step: for each of the cell's tensors (L·D, B, H),
    with L layers and D directions, a layer's forward direction before its reverse one. Layers of different widths
    cannot be stacked: then it is a tuple of L·D tensors (1, B, H_k) instead. `batch_first` makes x and the output
    (B, T, ·), and leaves the state as it is, as in PyTorch. Without a batch, x is (T, F) and the state (L·D, H).

    Sequences of different lengths: pass a padded x and `lengths=`, or `mask=`, or a list of sequences (T_b, F), or what
    `nn.utils.rnn` packs. Padding is never looked at; every sequence gives what it would alone. They need no order.

    Args:
        cell: makes the cells: a class of them, called with an input size, a hidden size, and the further settings; or
            cells that are made already, one, or all L·D of them.
        hidden_size: the width of all layers, or a list with one for each.
        dropout: probability of dropping an output of a layer on its way to the next one, in training.
        variational: drop the same ones at all time steps (Gal & Ghahramani, 2016).
        recurrent_dropout: probability of dropping an element of the hidden state on its way to the next step, the same
            ones at all time steps (Gal & Ghahramani, 2016).
        zoneout: probability that an element of the state stays as it was, in training; evaluating, its expectation. One
            for all tensors of the state, or a tuple (Krueger et al., 2017).
        learned_state: train the initial state, in parameters h_0_l{k} (and c_0_l{k}) of shape (H,).
    """

    _their_names: ClassVar[dict[str, str]] = {"input": "x", "hx": "state"}
    lens: Any = None  # set by `nn.lens` while it records, else None
    batch_first: bool
    bidirectional: bool
    dropout: float
    variational: bool
    recurrent_dropout: float
    zoneout: float | tuple[float, ...]
    cells: ModuleList

    def __init__(
        self,
        cell: Cell | Sequence[Cell] | Callable[..., Cell],
        input_size: int | None = None,
        hidden_size: int | Sequence[int] | None = None,
        num_layers: int = 1,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        variational: bool = False,
        recurrent_dropout: float = 0.0,
        zoneout: float | tuple[float, ...] = 0.0,
        learned_state: bool = False,
        **settings: Any,
    ) -> None:
        self.batch_first, self.bidirectional = batch_first, bidirectional
        self.dropout, self.variational, self.recurrent_dropout, self.zoneout = (
            dropout,
            variational,
            recurrent_dropout,
            zoneout,
        )
        for setting in ("dropout", "recurrent_dropout", "zoneout"):
            given = getattr(self, setting)
            if not all(0 <= p <= 1 for p in (given if isinstance(given, tuple) else (given,))):
                raise ValueError(f"{self._name}: {setting} is a probability from 0 to 1, got {given}")
        if callable(cell) and not isinstance(cell, Cell):
            cells = self._make(cell, input_size, hidden_size, num_layers, settings)
        else:
            cells = [cell] if isinstance(cell, Cell) else list(cell)
            if not cells or len(cells) % self._directions or not all(isinstance(c, Cell) for c in cells):
                raise ValueError(
                    f"{self._name}: takes a class of cells and its sizes, or cells, one for each layer"
                    f"{' and direction' if bidirectional else ''}, got {[type(c).__name__ for c in cells]}"
                )
        self.num_layers: int = len(cells) // self._directions
        self.input_size: int = cells[0].input_size
        widths = [c.hidden_size for c in cells[:: self._directions]]
        self.hidden_size: int | list[int] = widths[0] if len(set(widths)) == 1 else widths
        if dropout and self.num_layers == 1:
            warnings.warn(f"{self._name}: dropout={dropout} acts between layers, and there is only one", stacklevel=3)
        self._sizes = [c.state_sizes for c in cells]
        self.states: tuple[str, ...] = cells[0].states
        if learned_state:
            for k, sizes in enumerate(self._sizes):
                for letter, size in zip(self.states, sizes, strict=True):
                    like = next(cells[k].parameters())
                    initial = tg.zeros(size, dtype=like.dtype, device=like.device)
                    setattr(self, f"{letter}_0_{self._suffix(k)}", Parameter(initial))
        self.learned_state = learned_state
        self._adopt(cells)

    @property
    def _name(self) -> str:
        return type(self).__name__

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffix(self, k: int) -> str:
        """What the names of the parameters of the k-th cell end in, as in PyTorch."""
        return f"l{k // self._directions}" + ("_reverse" if k % self._directions else "")

    def _make(
        self, cell: Callable[..., Cell], input_size: Any, hidden_size: Any, num_layers: int, settings: Any
    ) -> Any:
        require_sizes(self._name, num_layers=num_layers)
        widths = list(hidden_size) if isinstance(hidden_size, (list, tuple)) else [hidden_size] * num_layers
        if len(widths) != num_layers and num_layers != 1:
            raise ValueError(f"{self._name}: hidden_size={widths} has {len(widths)} widths for {num_layers} layers")
        smallest = min(widths, key=lambda n: n if isinstance(n, int) else 0)  # what is no size comes first
        require_sizes(self._name, input_size=input_size, hidden_size=smallest)
        cells: list[Cell] = []
        for width in widths:
            features = cells[-1].output_size * self._directions if cells else input_size
            cells += [cell(features, width, **settings) for _ in range(self._directions)]
        return cells

    def _adopt(self, cells: list[Cell]) -> None:
        self.cells = ModuleList(cells)

    def _cells(self) -> list[Cell]:
        return list(self.cells)  # type: ignore[arg-type]

    # --- the loop over time ---

    def forward(self, x: Any, state: Any = None, *, lengths: Any = None, mask: Any = None) -> tuple[Any, Any]:
        """Run over sequences.

        Args:
            x: (T, B, F), (T, F), a list of (T_b, F), or a `nn.utils.rnn.PackedSequence`.
            state: where to begin: what an earlier call returned, or tensors of those shapes; zeros if None.
            lengths: (B,) integers from 0 to T: how many steps of each sequence are there.
            mask: (T, B) booleans, (B, T) if `batch_first`: which steps are there. The others are passed over.

        Returns:
            The output in the form of x, zeros where x is padded, and the state after each sequence's last step.

        Raises:
            ValueError: if a size does not fit; the message names it.
        """
        sequences = SequenceBatch.of(self._name, x, self.input_size, self.batch_first, lengths, mask)
        self._require_reproducible_draws(sequences)
        cells = self._cells()
        initial = self._initial(state, sequences)
        final: list[Tensors] = []
        data = sequences.data
        for layer in range(self.num_layers):
            if layer:
                data = self._dropped(data, sequences)
            data = sequences.filled(data)
            outputs = []
            for k in range(layer * self._directions, (layer + 1) * self._directions):
                output, last = self._scan(cells[k], k, data, sequences, initial[k])
                outputs.append(output)
                final.append(last)
            data = outputs[0] if len(outputs) == 1 else tg.cat(outputs, dim=-1)
        return sequences.restore(data), self._gathered(final, sequences)

    def _scan(
        self, cell: Cell, k: int, data: Tensor, sequences: SequenceBatch, state: Tensors
    ) -> tuple[Tensor, Tensors]:
        """One layer in one direction: packed data (N, F) -> outputs (N, O), and the state after the last step.

        Sequences come from the longest to the shortest, so those that have a step t are the first rows of it.
        """
        self._require_separable(cell)
        reverse = bool(k % self._directions)
        p = self.recurrent_dropout if self.training else 0.0
        scale = sequences.sorted(F.dropout(tg.ones_like(state[0]), p, batch_dim=0)) if p else None
        project, step, read_out, padding = cell.project, cell.step, cell.read_out, sequences.padding
        if padding is not None:
            project, step, read_out = (padded(self._name, f) for f in (project, step, read_out))
        projected = project(data)
        if isinstance(cell, LinearCell) and cell.is_linear and scale is None and self._uninterrupted(sequences):
            by_step = projected.reshape(len(sequences.batch_sizes), sequences.batch, -1)
            states = cell.all_steps(by_step, state[0], reverse)
            return read_out(states.reshape(len(data), -1), data), (states[0 if reverse else -1],)
        # on nothing, a step of no rows: so the parameters get the gradient 0
        steps = list(projected.split([n for n in sequences.batch_sizes if n])) or [projected]
        ended: list[Tensors] = []  # the last states of sequences that are over
        outputs, looked_at = [], []
        initial = state
        valid = [None] * len(steps) if padding is None else list(padding.valid.unbind(0))
        if reverse:
            steps.reverse()
            valid.reverse()
            state = _slice_rows(initial, 0, len(steps[0]))
        for xW, there in zip(steps, valid, strict=True):
            n = len(xW)
            active_rows = len(state[0])
            if n < active_rows:
                ended.append(_slice_rows(state, n, active_rows))
                state = _slice_rows(state, 0, n)
            elif n > active_rows:
                state = _joined([state, _slice_rows(initial, active_rows, n)])
            given = state if scale is None else (state[0] * scale[:n], *state[1:])
            new = step(xW, given if len(given) > 1 else given[0])
            new = (new,) if isinstance(new, Tensor) else tuple(new)
            new = self._zoned_out(state, new) if self.zoneout else new
            if there is not None:
                new = tuple([tg.where(there, after, before) for before, after in zip(state, new, strict=True)])
            state = new
            outputs.append(state[0])
            if self.lens is not None and n:
                looked_at.append((xW, given if len(given) > 1 else given[0], state))
        if reverse:
            outputs.reverse()
            looked_at.reverse()
            if len(state[0]) < len(initial[0]):  # sequences without a step
                ended = [_slice_rows(initial, len(state[0]), len(initial[0]))]
        if ended:
            state = _joined([state, *reversed(ended)])
        if self.lens is not None:
            self.lens.observe(self._suffix(k), cell, looked_at, sequences.order, sequences.batch)
        return read_out(tg.cat(outputs), data), state

    def _uninterrupted(self, sequences: SequenceBatch) -> bool:
        """Whether all sequences have all steps, of which there are several, and nothing happens between them."""
        sizes = sequences.batch_sizes
        whole = len(sizes) > 1 and sequences.padding is None and all(n == sequences.batch > 0 for n in sizes)
        return whole and not self.zoneout and self.lens is None

    def _require_reproducible_draws(self, sequences: SequenceBatch) -> None:
        """Raise if the number of random draws would differ from that of an uncompiled run in a single process."""
        draws = self.training and (self.zoneout or (self.dropout and self.num_layers > 1 and not self.variational))
        if draws and sequences.padding is not None:
            raise CompileError(
                f"compile: where lengths or a mask are tensors, {self._name} goes over all T steps, and dropout "
                "between layers and zoneout would draw for the padding, too: other numbers than outside. Pass the "
                "lengths as a list, or use variational=True and recurrent_dropout"
            )
        if draws and len(set(sequences.batch_sizes)) > 1 and batch_shard.required(self._name) is not None:
            raise RuntimeError(
                f"{self._name}: in a process group, dropout between layers and zoneout take sequences of one length "
                "alone, for of others each rank would draw another amount; use variational=True and recurrent_dropout"
            )

    @property
    def _zoneouts(self) -> tuple[float, ...]:
        """The probability for each tensor of the state."""
        return self.zoneout if isinstance(self.zoneout, tuple) else (self.zoneout,) * len(self.states)

    def _require_separable(self, cell: Cell) -> None:
        """Raise a ValueError if zoneout would keep elements of tensors that mean nothing without each other."""
        if any(p and letter in cell.coupled for letter, p in zip(self.states, self._zoneouts, strict=True)):
            raise ValueError(
                f"{self._name}: zoneout={self.zoneout} would mix {', '.join(cell.coupled)} of two steps, which in "
                f"{type(cell).__name__} belong together; take a tuple for ({', '.join(self.states)}), with 0 for these"
            )

    def _zoned_out(self, before: Tensors, after: Tensors) -> Tensors:
        """The state after a step, some elements of which stay as they were."""
        kept = []
        for old, new, p in zip(before, after, self._zoneouts, strict=True):
            if self.training:
                kept.append(tg.where(tg.rand(new.shape, device=new.device, batch_dim=0) < p, old, new))
            else:
                kept.append(p * old + (1 - p) * new)
        return tuple(kept)

    def _dropped(self, data: Tensor, sequences: SequenceBatch) -> Tensor:
        """What of a layer's output reaches the next one."""
        batch_sizes = sequences.batch_sizes
        if not self.training or not self.dropout:
            return data
        if not self.variational:
            if batch_shard.required(self._name) is None:
                return F.dropout(data, self.dropout)
            steps = data.reshape(len(batch_sizes), batch_sizes[0], data.shape[1])
            return F.dropout(steps, self.dropout, batch_dim=1).reshape(data.shape)
        ones = tg.ones(sequences.batch, data.shape[1], dtype=data.dtype, device=data.device)
        scale = sequences.sorted(F.dropout(ones, self.dropout, batch_dim=0))
        return data * scale[tg.cat([tg.arange(n, device=data.device) for n in batch_sizes])]

    # --- states in and out ---

    @property
    def _stacked(self) -> bool:
        return len(set(self._sizes)) == 1

    def _initial(self, state: Any, sequences: SequenceBatch) -> list[Tensors]:
        """For each cell its initial state, the rows in the order of the data."""
        B, like = sequences.batch, sequences.data
        if state is None:
            if not self.learned_state:
                made: dict[int, Tensor] = {}
                for size in {n for sizes in self._sizes for n in sizes}:
                    made[size] = tg.zeros(B, size, dtype=like.dtype, device=like.device)
                return [tuple([made[n] for n in sizes]) for sizes in self._sizes]
            return [
                tuple(
                    [
                        getattr(self, f"{letter}_0_{self._suffix(k)}").broadcast_to((B, n))
                        for letter, n in zip(self.states, sizes, strict=True)
                    ]
                )
                for k, sizes in enumerate(self._sizes)
            ]
        one = len(self.states) == 1
        given = (state,) if one and (isinstance(state, Tensor) or not self._stacked) else state
        if not isinstance(given, (tuple, list)) or len(given) != len(self.states):
            letters = ", ".join([f"{letter}_0" for letter in self.states])
            raise ValueError(
                f"{self._name}: the initial state is ({letters}), got {_shown(state)}"
                + ("" if one else "; pass both, or what an earlier call returned")
            )
        parts = [
            self._parts(letter, j, s, sequences) for j, (letter, s) in enumerate(zip(self.states, given, strict=True))
        ]
        return list(zip(*parts, strict=True))

    def _parts(self, letter: str, j: int, s: Any, sequences: SequenceBatch) -> list[Tensor]:
        """One tensor of the state, (L·D, B, H) or a tuple of L·D (1, B, H), as (B, H) for each cell."""
        count = len(self._sizes)
        batch = (sequences.batch,) if sequences.batched else ()
        shapes = [(1, *batch, sizes[j]) for sizes in self._sizes]
        if self._stacked:
            wanted: Any = (count, *shapes[0][1:])
            fits = isinstance(s, Tensor) and s.shape == wanted
        else:
            wanted = shapes
            fits = isinstance(s, (tuple, list)) and [x.shape for x in s] == shapes
        if not fits:
            raise ValueError(
                f"{self._name}: the initial state {letter} has {_shown(s)}, but x and this module take {wanted}: "
                f"{'(layers · directions, B, H)' if self._stacked else '(1, B, H) for each layer and direction'}"
                f"{'' if sequences.batched else ' without B'}. A state of an earlier batch of another size does not fit"
            )
        of_cells = list(s.unbind(0)) if self._stacked else [x.squeeze(0) for x in s]
        return [sequences.sorted(x if sequences.batched else x.unsqueeze(0)) for x in of_cells]

    def _gathered(self, final: list[Tensors], sequences: SequenceBatch) -> State:
        """The states of all cells as the one that the caller gets."""
        tensors: list[Any] = []
        for of_cells in zip(*final, strict=True):
            parts = [sequences.unsorted(s) if sequences.batched else s.squeeze(0) for s in of_cells]
            tensors.append(tg.stack(parts) if self._stacked else TupleState([x.unsqueeze(0) for x in parts]))
        return as_state(tensors) if self._stacked or len(tensors) > 1 else tensors[0]

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {
            "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False, "proj_size": 0,
            "variational": False, "recurrent_dropout": 0.0, "zoneout": 0.0, "learned_state": False,
        }  # fmt: skip
        given = {name: getattr(self, name, default) for name, default in defaults.items()}
        return text + "".join([f", {k}={v}" for k, v in given.items() if v != defaults[k]])


def _slice_rows(state: Tensors, start: int, stop: int) -> Tensors:
    """Some rows of every tensor of a state."""
    return state if (start, stop) == (0, len(state[0])) else tuple([s[start:stop] for s in state])


def _joined(states: list[Tensors]) -> Tensors:
    """The rows of several states, one below the other."""
    return tuple([tg.cat(parts) for parts in zip(*states, strict=True)])


def _shown(x: Any) -> str:
    if hasattr(x, "shape"):
        return f"shape {tuple(x.shape)}"
    return f"{[_shown(y) for y in x]}" if isinstance(x, (tuple, list)) else repr(x)
