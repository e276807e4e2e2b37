"""One layout of one module: which parameters make which arrays, the way there and back, and what does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor

from ..cells import GRUCell, LSTMCell, RNNCell
from ..module import Module
from ..rnn import GRU, LSTM, RNN
from .layouts import BOTH, GATES, HH, IH, LAYOUTS, RESET_BEFORE, Spec


@dataclass(frozen=True)
class Slot:
    """What an array, or one direction of it, is made of: parts of which cell, for which gates."""

    cell: int
    spec: Spec
    gates: tuple[str, ...]


Parts = dict[tuple[int, str, str], Tensor]  # by cell, parameter and gate: (H, F), (H, H) or (H,)


class Plan:
    """Which of a module's parameters, gate by gate, makes which array of a layout, and the way there and back."""

    module: Module
    name: str
    layout: Any
    kind: str
    suffixes: list[str]

    def __init__(self, module: Module, name: str) -> None:
        if name not in LAYOUTS:
            raise ValueError(f"interchange: there is no layout {name!r}; there are {', '.join(LAYOUTS)}")
        self.name, self.layout, self.module = name, LAYOUTS[name], module
        # a cell's subclasses have further weights; a layer's are made of these very cells
        if isinstance(module, (RNN, LSTM, GRU)):
            self.kind = next(kind.__name__ for kind in (RNN, LSTM, GRU) if isinstance(module, kind))
            self.directions = 2 if module.bidirectional else 1
            self.suffixes = [f"_{module._suffix(k)}" for k in range(module.num_layers * self.directions)]
        elif type(module) in (RNNCell, LSTMCell, GRUCell):
            self.kind, self.directions, self.suffixes = type(module).__name__.removesuffix("Cell"), 1, [""]
        else:
            raise ValueError(
                f"interchange: takes nn.RNN, nn.LSTM, nn.GRU and their cells, got {type(module).__name__}: no other "
                "library lays out its weights"
            )
        for found, what in (
            (self.kind not in self.layout.arrays, f"{self.kind}: {self.layout.without.get(self.kind)}"),
            (self.directions > self.layout.directions, "layers in both directions"),
            (getattr(module, "proj_size", 0) and name != "torch", "projections of the output (proj_size)"),
            (getattr(module, "learned_state", False), "initial states that are learned (learned_state)"),
        ):
            if found:
                raise ValueError(f"interchange: {self.layout.library} has no {what}")
        of = {"module": len(self.suffixes), "layer": self.directions, "cell": 1}[self.layout.of]
        self.units: int = len(self.suffixes) // of
        self.biased: bool = self._parameter(0, "bias_ih") is not None
        self.slots: dict[str, list[Slot]] = {}  # for each array by name; several where directions are stacked
        for k in range(len(self.suffixes)):
            for path, slot in self._slots_of(k):
                unit = "" if self.layout.of == "module" else f"{k // of}/"
                self.slots.setdefault(unit + path, []).append(slot)

    def _slots_of(self, k: int) -> Iterator[tuple[str, Slot]]:
        order = self.layout.gates[self.kind]
        direction = ("forward_", "backward_")[k % 2] if self.directions == 2 else ""
        for spec in self.layout.arrays[self.kind]:
            if spec.parts == ("weight_hr",):
                if self._parameter(k, "weight_hr") is not None:
                    yield spec.name.format(suffix=self.suffixes[k]), Slot(k, spec, ("",))
                continue
            gates = spec.gates or order
            for group in [(g,) for g in gates] if spec.by_gate else [tuple(gates)]:
                place = order.index(group[0])
                path = spec.name.format(
                    gate=group[0], x=place, h=place + len(order), suffix=self.suffixes[k], direction=direction
                )
                yield path, Slot(k, spec, group)

    def _parameter(self, k: int, part: str) -> Tensor | None:
        found: Tensor | None = getattr(self.module, part + self.suffixes[k], None)
        return found

    def require_reset_after(self, given: bool | None) -> None:
        name = self.layout.reset_after
        if self.kind != "GRU" or given is True:
            return
        if given is False:
            raise ValueError(f"interchange: a GRU with reset_after=False {RESET_BEFORE}; it cannot be read")
        if name and not self.layout.reset_after_default:
            raise ValueError(
                f"interchange: {self.layout.library}: the arrays of a GRU don't show whether its reset gate acts after "
                f"the product with the state. Pass reset_after=True if the node has {name}; with =0, its default, it "
                f"{RESET_BEFORE}"
            )

    # --- there ---

    def theirs(self, *, all_biases: bool = False) -> dict[str, Tensor]:
        """The arrays of the layout; with `all_biases` also those that are left out because the module has none."""
        with tg.no_grad():
            parts = self._parts()
            result = {}
            for name, slots in self.slots.items():
                if self.biased or self.layout.biased or all_biases or not slots[0].spec.is_bias:
                    made = [self._joined(slot, parts) for slot in slots]
                    result[name] = tg.stack(made) if self.layout.stacked else made[0]
            return result

    def _parts(self) -> Parts:
        parts: Parts = {}
        for k in range(len(self.suffixes)):
            for part in (*IH, *HH, *BOTH, "weight_hr"):
                tensor = self._parameter(k, part)
                if tensor is None and part in BOTH:
                    tensor = tg.zeros_like(parts[k, "weight_ih", GATES[self.kind][0]][:, 0])
                    parts |= {(k, part, gate): tensor for gate in GATES[self.kind]}
                elif tensor is not None:
                    gates = [""] if part == "weight_hr" else GATES[self.kind]
                    parts |= {(k, part, g): t for g, t in zip(gates, tensor.detach().chunk(len(gates)), strict=True)}
        return parts

    def _joined(self, slot: Slot, parts: Parts) -> Tensor:
        """One array, or one direction of it."""
        each = []
        for part in slot.spec.parts:
            of_gates = [parts[slot.cell, part, gate] for gate in slot.gates]
            whole = tg.stack(of_gates, dim=1).flatten(0, 1) if self.layout.interleaved else tg.cat(of_gates)
            each.append(whole.T if self.layout.transposed and whole.ndim == 2 else whole)
        if slot.spec.merge == "sum":
            return each[0] + each[1]
        return tg.stack(each) if slot.spec.merge == "rows" else tg.cat(each)

    # --- and back ---

    def ours(self, given: Mapping[str, Any]) -> dict[str, Tensor]:
        """The module's state from the arrays of the layout."""
        new = self._checked(given)
        with tg.no_grad():
            parts: Parts = {}
            for name, slots in self.slots.items():
                directions = new[name].unbind(0) if self.layout.stacked else (new[name],)
                for slot, array in zip(slots, directions, strict=True):
                    parts |= self._parted(slot, array)
            gates = GATES[self.kind]
            return {
                part + suffix: tg.cat([parts[k, part, g] for g in ([""] if part == "weight_hr" else gates)])
                for k, suffix in enumerate(self.suffixes)
                for part in (*IH, *HH, *BOTH, "weight_hr")
                if self._parameter(k, part) is not None
            }

    def _parted(self, slot: Slot, array: Tensor) -> Parts:
        """`_joined` backwards; of a sum all goes to the first part."""
        if slot.spec.merge == "sum":
            each: tuple[Tensor, ...] = (array, tg.zeros_like(array))
        else:
            each = array.unbind(0) if slot.spec.merge == "rows" else array.chunk(len(slot.spec.parts))
        parts: Parts = {}
        for part, whole in zip(slot.spec.parts, each, strict=True):
            matrix = whole.T if self.layout.transposed and whole.ndim == 2 else whole
            G = len(slot.gates)
            of_gates = (
                matrix.reshape(-1, G, *matrix.shape[1:]).unbind(1) if self.layout.interleaved else matrix.chunk(G)
            )
            parts |= {(slot.cell, part, gate): t for gate, t in zip(slot.gates, of_gates, strict=True)}
        return parts

    # --- what is wrong ---

    def _checked(self, given: Mapping[str, Any]) -> dict[str, Tensor]:
        """All arrays of the layout, zeros for biases that are not there."""
        wanted = self.theirs(all_biases=True)
        new, problems = {}, []
        for name in [name for name in wanted if name in given]:
            numbers = given[name]
            try:
                # PyTorch gives no numbers of a parameter that is not detached
                new[name] = tg.as_tensor(getattr(numbers, "detach", lambda x=numbers: x)(), like=wanted[name])
            except (TypeError, ValueError) as error:
                problems.append(f"{name}: {error}")
        biases = [name for name, slots in self.slots.items() if slots[0].spec.is_bias]
        if not any(name in given for name in biases):
            new |= {name: tg.zeros_like(wanted[name]) for name in biases}
        problems += [
            f"{name}: has shape {array.shape} there, {wanted[name].shape} here{self._cause(name, new, wanted)}"
            for name, array in new.items()
            if array.shape != wanted[name].shape
        ]
        missing = [name for name in wanted if name not in given and name not in new]
        problems += [f"{name}: is missing there{_hint(name, 'here')}" for name in missing]
        problems += [f"{name}: is not known here{_hint(name, 'there')}" for name in given if name not in wanted]
        if not problems and not self.biased:
            problems = [
                f"{name}: is not zero there, and the module has no biases: make it with bias=True"
                for name in biases
                if bool((new[name] != 0).any())
            ]
        if problems:
            raise ValueError(
                f"interchange: {type(self.module).__name__} cannot take these weights as those of "
                f"{self.layout.library}:\n  " + "\n  ".join(problems)
            )
        return new

    def _cause(self, name: str, new: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
        """What is likely to be behind an array of another shape."""
        slot, spec = self.slots[name][0], self.slots[name][0].spec
        there, here = tuple(new[name].shape), tuple(wanted[name].shape)
        if there == here[::-1]:
            return ": transposed?"
        if self.layout.stacked and len(there) < len(here):
            return ": its first axis is the directions"
        if self.layout.stacked and there[0] != here[0]:
            return f": bidirectional={there[0] == 2} there, {here[0] == 2} here"
        if spec.merge == "rows" and there == here[1:]:
            return f": {self.layout.reset_after.replace('True', 'False')}, with which a GRU {RESET_BEFORE}"
        if len(there) != len(here) or spec.parts == ("weight_hr",):
            return ""
        transposed = self.layout.transposed or spec.is_bias
        rows, columns = (-1, -2) if transposed else (-2, -1)
        if there[rows] == here[rows]:
            return "" if spec.parts != IH else f": input size {there[columns]} there, {here[columns]} here"
        for other, slots in self.slots.items():  # the width of the state tells other gates from more units
            if (
                slots[0].cell == slot.cell
                and slots[0].spec.parts == HH
                and other in new
                and new[other].ndim == len(wanted[other].shape)
            ):
                side = -2 if self.layout.transposed else -1
                width, own = new[other].shape[side], wanted[other].shape[side]
                if width != own:
                    return f": hidden size {width} there, {own} here"
        kinds = [kind for kind, gates in GATES.items() if len(gates) * here[rows] == len(slot.gates) * there[rows]]
        return f": the gates of {' or '.join(kinds)} there, of {self.kind} here" if kinds else ""


def _hint(name: str, where: str) -> str:
    """What is likely to be behind an array that is there and not here, or here and not there."""
    last = name.rpartition("/")[2]
    for mark, text in {
        "reverse": f"bidirectional {where}",
        "backward": f"bidirectional {where}",
        "weight_hr": f"a projection (proj_size) {where}",
        "bias": "some biases are there, some not" if where == "here" else "",
    }.items():
        if mark in last and text:
            return f": {text}"
    return ": peepholes, which nn.LSTM does not have" if last == "P" else ""
