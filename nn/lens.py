"""A look inside recurrent networks: gates, states and gradients at every step, as arrays, as text, as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor
from tinygrad_seq.graph import recomputation

from .cells import Cell
from .module import Module
from .recurrent import Recurrent

Array = Any  # a NumPy array


class Layer:
    """What one layer did in one direction, or one cell: T steps of B sequences.

    Arrays are (T, B, H), and gradient norms (T, B), with nan where a sequence has no step any more. Calls of the model
    add up: T counts the steps of all of them.

    Attributes:
        gates: the names of the gates, such as i, f, g, o; none for a cell that has no method `compute_gates`.
        states: the names of the state's tensors, such as h and c.
    """

    name: str
    states: tuple[str, ...]

    def __init__(self, name: str, cell: Cell) -> None:
        self.name, self.states = name, cell.states
        self.gates: tuple[str, ...] = getattr(cell, "gates", ()) if hasattr(cell, "compute_gates") else ()
        self._steps: list[dict[str, Tensor]] = []

    def __len__(self) -> int:
        return len(self._steps)

    def _add(self, cell: Cell, xW: Tensor, before: Any, after: Sequence[Tensor], order: Any, B: int | None) -> None:
        """Note one step, and wait for its gradients. Where a checkpoint runs it again, only the latter."""

        def placed(rows: Tensor) -> Tensor:
            """The rows of this step among those of all sequences, in the order in which these were given."""
            if B is None:
                return rows.unsqueeze(0)
            missing = rows.new_full((B - len(rows), *rows.shape[1:]), float("nan"))
            whole = tg.cat([rows, missing]) if len(rows) < B else rows
            return whole if order is None else whole[order.argsort()]

        def noted() -> dict[str, Tensor]:
            step: dict[str, Tensor] = {}
            with tg.no_grad():
                opened = cell.compute_gates(xW, before) if self.gates else ()  # type: ignore[attr-defined]
                for gate, value in zip(self.gates, opened, strict=True):
                    step[gate] = placed(value.detach())
                for letter, state in zip(self.states, after, strict=True):
                    step[f"{letter}_t"] = placed(state.detach())
                    step[f"d{letter}"] = step[f"{letter}_t"][..., 0] * float("nan")
            self._steps.append(step)
            return step

        seen: dict[str, Tensor] = recomputation.once(self, noted, otherwise={})

        def watch(letter: str, state: Tensor) -> None:
            def arrived(g: Tensor) -> None:
                with tg.no_grad():
                    seen[f"d{letter}"] = placed(g.detach().norm(dim=-1))

            if state.requires_grad:
                state.register_hook(arrived)

        for letter, state in zip(self.states, after, strict=True):
            watch(letter, state)

    def _array(self, key: str) -> Array:
        return tg.stack([step[key] for step in self._steps]).cpu().numpy()

    def gate(self, name: str) -> Array:
        """How far a gate was open at each step, from 0 to 1 (the candidate: from -1 to 1): (T, B, H).

        Raises:
            KeyError: if the cell has no such gate.
        """
        return self._array(self._known("gate", name, self.gates))

    def state(self, name: str = "h") -> Array:
        """The state after each step: (T, B, H)."""
        return self._array(self._known("state", name, self.states) + "_t")

    def gradient_norm(self, name: str = "h") -> Array:
        """‖∂L/∂h_t‖ of the last backward pass, for each step and sequence: (T, B); nan where none came."""
        return self._array("d" + self._known("gradient_norm", name, self.states))

    def saturation(self, gate: str, low: float = 0.1, high: float = 0.9) -> tuple[Array, Array]:
        """For each unit the share of its steps at which a gate was below `low` and above `high`: (H,) twice.

        For the candidate, which goes from -1 to 1, below -`high` and above it. Karpathy, Johnson & Fei-Fei,
        "Visualizing and understanding recurrent networks", 2015.
        """
        opened = self.gate(gate)
        there = opened == opened  # not nan
        low = -high if (opened < 0).any() else low
        count = there.sum(axis=(0, 1))
        return (opened < low).sum(axis=(0, 1)) / count, (opened > high).sum(axis=(0, 1)) / count

    def _known(self, what: str, name: str, names: tuple[str, ...]) -> str:
        if not self._steps:
            raise ValueError(f"{what}: layer {self.name!r} has not been used while the lens was there")
        if name not in names:
            raise KeyError(f"{what}: layer {self.name!r} has {', '.join(names) or 'none'}, not {name!r}")
        return name


class Seen:
    """What `lens` saw, by layer: `seen["lstm.l0"]`. As text it is a summary."""

    def __init__(self) -> None:
        self.layers: dict[str, Layer] = {}

    def __getitem__(self, name: str) -> Layer:
        """The layer of this name.

        Raises:
            KeyError: if nothing of that name was seen; the message lists what was.
        """
        if name not in self.layers:
            raise KeyError(f"lens: has not seen {name!r}, only {sorted(self.layers)}")
        return self.layers[name]

    def __str__(self) -> str:
        """A line for each layer's gates, and one for how its gradients fall with distance."""
        lines = []
        for layer in self.layers.values():
            lines.append(f"{layer.name}: {len(layer)} steps")
            for gate in layer.gates:
                low, high = layer.saturation(gate)
                mean = _mean(layer.gate(gate))
                lines.append(
                    f"  {gate}  mean {mean:+.2f}, closed {low.mean():4.0%}, open {high.mean():4.0%} of the time"
                )
            for letter in layer.states:
                norms = layer.gradient_norm(letter)
                if (norms == norms).any():
                    first, last = (_mean(norms[t]) for t in (0, -1))
                    lines.append(f"  |dL/d{letter}| from {first:.2e} at the first step to {last:.2e} at the last")
        return "\n".join(lines)

    __repr__ = __str__


def _mean(numbers: Array) -> float:
    """The mean of what is not nan."""
    return float(numbers[numbers == numbers].mean())


class _Observer:
    """Stands in a recurrent module or a cell while there is a lens on it."""

    def __init__(self, seen: Seen, prefix: str) -> None:
        self._seen, self._prefix = seen, prefix

    def __deepcopy__(self, _: Any) -> None:
        """A copy of the module is not looked at."""

    def observe(self, name: str, cell: Cell, steps: list[Any], order: Any, B: int | None) -> None:
        """Told of (xW, state before, state after) of each step, in the order of time."""
        full = ".".join([part for part in (self._prefix, name) if part]) or type(cell).__name__
        layer = self._seen.layers.setdefault(full, Layer(full, cell))
        for xW, before, after in steps:
            layer._add(cell, xW, before, after, order, B)


@contextmanager
def lens(model: Module) -> Iterator[Seen]:
    """Look inside the recurrent layers and cells of a model while it runs:

    >>> with nn.lens(model) as seen:
    ...     loss = criterion(model(x), y)
    ...     loss.backward()
    >>> seen["lstm.l0"].gate("f")           # (T, B, H)
    >>> seen["lstm.l0"].gradient_norm("c")  # (T, B)
    >>> print(seen)

    A layer is named by its place in the model and its number, as its parameters are: "lstm.l0", "lstm.l0_reverse".
    Without a lens, looking costs nothing.

    Raises:
        ValueError: if the model has no recurrent layer, or there is a lens on it already.
    """
    found = [(name, m) for name, m in model.named_modules() if isinstance(m, (Recurrent, Cell))]
    if not found:
        raise ValueError(f"lens: {type(model).__name__} has no recurrent layer to look into")
    if any(m.lens is not None for _, m in found):
        raise ValueError(f"lens: there is a lens on this {type(model).__name__} already")
    seen = Seen()

    @contextmanager
    def looking() -> Iterator[None]:
        before = [(module, vars(module).get("lens")) for _, module in found]
        try:
            for name, module in found:
                vars(module)["lens"] = _Observer(seen, name)
            yield
        finally:
            for module, observer in before:
                vars(module)["lens"] = observer
                if observer is None:
                    del vars(module)["lens"]

    with recomputation.reentrant(looking):  # a checkpoint's gradients arrive at the states of its second run
        yield seen
