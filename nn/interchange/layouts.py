"""The table of layouts: who orders gates how, turns matrices, and has which biases. Data, and nothing that computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

GATES = {"RNN": "h", "LSTM": "ifgo", "GRU": "rzn"}  # in the order in which they stand here


@dataclass(frozen=True)
class Spec:
    """One array of a layout, or where the name has {gate}, {x} or {h} in it, one for each gate.

    Attributes:
        name: what the library calls it. {gate} is the gate, {x} and {h} its number among the input's and the state's,
            {suffix} PyTorch's suffix for layer and direction, {direction} is "forward_" or "backward_" where both are.
        parts: what of ours is in it: weight_ih, weight_hh, bias_ih, bias_hh or weight_hr; or two of them.
        merge: how two become one: "sum", "rows" (2, G·H), or "end to end" (2·G·H,).
        gates: the gates it has, if not all.
    """

    name: str
    parts: tuple[str, ...]
    merge: str = ""
    gates: str = ""

    @property
    def by_gate(self) -> bool:
        return any(mark in self.name for mark in ("{gate}", "{x}", "{h}"))

    @property
    def is_bias(self) -> bool:
        return self.parts[0].startswith("bias")


@dataclass(frozen=True)
class Layout:
    """How a library lays out the weights of its recurrent layers.

    Attributes:
        library: its name, and where its layout is said.
        arrays: for each kind of layer, the arrays in the library's order.
        gates: for each kind of layer, the order of the gates.
        of: what has weights of its own there: "module", all layers at once, "layer", or "cell", a layer's direction.
        transposed: matrices are (inputs, G·H), to be multiplied from the right.
        interleaved: the gates' rows alternate: first all gates of the first unit.
        stacked: every array has the directions as its first axis.
        directions: how many the library can have.
        biased: its layers always have biases.
        reset_after: with what setting its GRU's reset gate acts after the product with the state, as PyTorch's does.
        reset_after_default: whether that is its default.
        without: for the kinds it has not, why.
    """

    library: str
    arrays: Mapping[str, tuple[Spec, ...]]
    gates: Mapping[str, str] = field(default_factory=lambda: GATES)
    of: str = "layer"
    transposed: bool = False
    interleaved: bool = False
    stacked: bool = False
    directions: int = 2
    biased: bool = False
    reset_after: str = ""
    reset_after_default: bool = True
    without: Mapping[str, str] = field(default_factory=dict)


def _kinds(*arrays: Spec, kinds: Sequence[str] = tuple(GATES)) -> dict[str, tuple[Spec, ...]]:
    """The same arrays for several kinds of layers."""
    return dict.fromkeys(kinds, arrays)


IH, HH, B_IH, B_HH = ("weight_ih",), ("weight_hh",), ("bias_ih",), ("bias_hh",)
BOTH = B_IH + B_HH
RESET_BEFORE = "computes tanh(W x + U (r · h)), which is not PyTorch's tanh(W x + r · (U h))"
_TORCH = (
    Spec("weight_ih{suffix}", IH), Spec("weight_hh{suffix}", HH), Spec("bias_ih{suffix}", B_IH),
    Spec("bias_hh{suffix}", B_HH),
)  # fmt: skip
_KERAS = Spec("{direction}kernel", IH), Spec("{direction}recurrent_kernel", HH)
_FLAX = Spec("i{gate}/kernel", IH), Spec("h{gate}/kernel", HH)

LAYOUTS: dict[str, Layout] = {
    "torch": Layout(
        "PyTorch (torch.nn)",
        {"RNN": _TORCH, "LSTM": (*_TORCH, Spec("weight_hr{suffix}", ("weight_hr",))), "GRU": _TORCH},
        of="module",
    ),
    "keras": Layout(
        "Keras 3 (keras.layers)",
        _kinds(*_KERAS, Spec("{direction}bias", BOTH, "sum"), kinds=("RNN", "LSTM"))
        | {"GRU": (*_KERAS, Spec("{direction}bias", BOTH, "rows"))},
        gates=GATES | {"GRU": "zrn"},
        transposed=True,
        reset_after="reset_after=True",
    ),
    "flax": Layout(
        "Flax (flax.linen)",
        {
            "RNN": (Spec("i/kernel", IH), Spec("i/bias", BOTH, "sum"), Spec("h/kernel", HH)),
            "LSTM": (*_FLAX, Spec("h{gate}/bias", BOTH, "sum")),
            "GRU": (
                *_FLAX, Spec("i{gate}/bias", BOTH, "sum", gates="rz"), Spec("i{gate}/bias", B_IH, gates="n"),
                Spec("h{gate}/bias", B_HH, gates="n"),
            ),
        },
        of="cell", transposed=True, biased=True,
    ),
    "onnx": Layout(
        "ONNX (operators RNN, LSTM, GRU)",
        _kinds(Spec("W", IH), Spec("R", HH), Spec("B", BOTH, "end to end")),
        gates={"RNN": "h", "LSTM": "iofg", "GRU": "zrn"},
        stacked=True, reset_after="linear_before_reset=1", reset_after_default=False,
    ),
    "chainer": Layout(
        "Chainer (NStepLSTM, NStepGRU, NStepRNN and their Bi forms)",
        _kinds(Spec("w{x}", IH), Spec("w{h}", HH), Spec("b{x}", B_IH), Spec("b{h}", B_HH)),
        of="cell", biased=True,
    ),
    "chainer-link": Layout(
        "Chainer (links.LSTM, StatelessLSTM)",
        {"LSTM": (Spec("upward/W", IH), Spec("upward/b", BOTH, "sum"), Spec("lateral/W", HH))},
        gates={"LSTM": "gifo"},
        interleaved=True, directions=1, biased=True,
        without={
            "GRU": f"links.GRU {RESET_BEFORE}; NStepGRU is the layout 'chainer'",
            "RNN": "Chainer has no such link; NStepRNN is the layout 'chainer'",
        },
    ),
    "char-rnn": Layout(
        "char-rnn (Torch7; Karpathy, 2015)",
        _kinds(
            Spec("i2h/weight", IH), Spec("i2h/bias", B_IH), Spec("h2h/weight", HH), Spec("h2h/bias", B_HH),
            kinds=("RNN", "LSTM"),
        ),
        gates={"RNN": "h", "LSTM": "ifog"},
        directions=1, biased=True, without={"GRU": f"char-rnn's {RESET_BEFORE}"},
    ),
}  # fmt: skip


def table() -> str:
    """`LAYOUTS` as a table in Markdown: for each layout and kind the order of the gates, and all arrays with shapes."""
    lines = ["| layout | kind | gates | arrays |", "|---|---|---|---|"]
    for key, layout in LAYOUTS.items():
        for kind, specs in layout.arrays.items():
            arrays = ", ".join([f"`{spec.name}` {_shape_in_letters(layout, kind, spec)}" for spec in specs])
            gates = " ".join(layout.gates[kind]) if kind != "RNN" else "–"
            lines.append(f"| `{key}` | {kind} | {gates} | {arrays} |")
    return "\n".join(lines)


def _shape_in_letters(layout: Layout, kind: str, spec: Spec) -> str:
    if spec.parts == ("weight_hr",):
        return "(P, H)"
    rows = f"{len(GATES[kind])}H" if kind != "RNN" and not spec.by_gate else "H"
    if not spec.is_bias:
        sizes = [rows, "F" if spec.parts == IH else "H"]
        if layout.transposed:
            sizes.reverse()
    else:
        double = f"{2 * len(GATES[kind])}H"
        sizes = {"rows": ["2", rows], "end to end": [double]}.get(spec.merge, [rows])
    if layout.stacked:
        sizes.insert(0, "D")
    said = [f"of {' '.join(spec.gates)}"] if spec.gates else []
    said += ["the sum"] if spec.merge == "sum" else []
    return " ".join([f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})", ", ".join(said)]).rstrip()
