"""Weights in other libraries' layouts, there and back, in all forms and in files; and what does not fit is said."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
import tinygrad_seq as tg
from nn.interchange import LAYOUTS, load, read, save, table, write

from .interchange_reference import PAIRS, SAID, B, F, H, T, data, ours, output

# --- there and back ---


@given(
    pair=st.sampled_from(PAIRS), layers=st.integers(1, 3), both=st.booleans(), bias=st.booleans(),
    sizes=st.tuples(st.integers(1, 5), st.integers(2, 5)), projected=st.booleans(), seed=st.integers(0, 999),
)  # fmt: skip
def test_there_and_back_is_the_same_function(
    pair: Any, layers: int, both: bool, bias: bool, sizes: Any, projected: bool, seed: int
) -> None:
    layout, kind = pair
    both = both and LAYOUTS[layout].directions == 2
    options: Any = {"proj_size": 1} if projected and pair == ("torch", "LSTM") else {}
    tg.manual_seed(seed)
    first, second = (
        getattr(nn, kind)(*sizes, layers, bias=bias, bidirectional=both, dtype=tg.float64, **options) for _ in range(2)
    )
    weights = write(first, layout)
    read(second, weights, layout, **SAID.get(layout, {}))
    x = np.random.default_rng(seed).standard_normal((T, B, sizes[0]))
    np.testing.assert_allclose(output(second, x), output(first, x), rtol=0, atol=1e-12)
    again = write(second, layout)
    tree = [weights] if isinstance(weights, dict) else weights
    for a, b in zip(tree, [again] if isinstance(again, dict) else again, strict=True):
        np.testing.assert_equal(b, a)  # to the bit: a sum with zeros is itself


@pytest.mark.parametrize(("layout", "kind"), PAIRS)
def test_cells(layout: str, kind: str) -> None:
    cell, other = (getattr(nn, f"{kind}Cell")(F, H, dtype=tg.float64) for _ in range(2))
    layer = ours(kind)
    weights = write(cell, layout)
    read(other, weights, layout, **SAID.get(layout, {}))
    if layout != "torch":
        read(layer, weights, layout, **SAID.get(layout, {}))
        x = data()
        h = cell(tg.tensor(x[0]))
        np.testing.assert_allclose((h[0] if kind == "LSTM" else h).detach().numpy(), output(layer, x)[0], atol=1e-12)
    assert list(write(cell)) == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]


def test_what_is_written_is_the_callers_own() -> None:
    for layout, kind in PAIRS:
        module = ours(kind)
        before = {name: p.numpy().copy() for name, p in module.state_dict().items()}
        for array in [array for unit in [write(module, layout)] for array in leaves(unit)]:
            assert type(array) is np.ndarray
            assert array.flags.writeable
            assert array.flags.c_contiguous
            array[...] = 9
        np.testing.assert_equal({name: p.numpy() for name, p in module.state_dict().items()}, before)


def leaves(node: Any) -> list[Any]:
    if isinstance(node, (dict, list)):
        return [leaf for value in (node.values() if isinstance(node, dict) else node) for leaf in leaves(value)]
    return [node]


def test_different_widths_and_dtypes() -> None:
    first = nn.LSTM(F, [4, 6], dtype=tg.float32)
    second = nn.LSTM(F, [4, 6], dtype=tg.float64)
    read(second, write(first, "onnx"), "onnx")
    assert {p.dtype for p in second.parameters()} == {tg.float64}
    np.testing.assert_allclose(output(second, data()), output(first, data(np.float32)), atol=1e-6)


@pytest.mark.parametrize(
    "form",
    [
        lambda w: w, lambda w: w[0], lambda w: list(w[0].values()), lambda w: [list(w[0].values())],
        lambda w: {f"0/{name}": array for name, array in w[0].items()}, lambda w: {"0": w[0]},
        lambda w: {name: array.tolist() for name, array in w[0].items()},
        lambda w: {name: tg.tensor(array) for name, array in w[0].items()},
    ],
)  # fmt: skip
def test_forms_of_weights(form: Callable[[Any], Any]) -> None:
    first, second = ours("GRU"), ours("GRU")
    read(second, form(write(first, "keras")), "keras")
    np.testing.assert_allclose(output(second, data()), output(first, data()), atol=1e-12)


def test_lists_without_biases() -> None:
    first = ours("GRU", 1, True, bias=False)
    in_order = list(write(first, "keras")[0].values())  # forward, forward, backward, backward
    for second in (ours("GRU", 1, True, bias=False), ours("GRU", 1, True)):
        read(second, in_order, "keras")
        np.testing.assert_allclose(output(second, data()), output(first, data()), atol=1e-12)


# --- files ---


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize(("layout", "kind"), PAIRS)
def test_files(layout: str, kind: str, suffix: str, tmp_path: Path) -> None:
    if suffix == ".safetensors":
        pytest.importorskip("safetensors", reason="safetensors is not installed")
    first, second, path = ours(kind, 2), ours(kind, 2), tmp_path / f"weights{suffix}"
    save(first, path, layout, prefix="rnn.")
    content = tg.load(path)
    assert all(name.startswith("rnn.") for name in content)
    tg.save(content | {"head.weight": tg.zeros(3)}, path)  # others are in the file as well
    load(second, path, layout, prefix="rnn.", **SAID.get(layout, {}))
    np.testing.assert_allclose(output(second, data()), output(first, data()), atol=1e-12)
    with pytest.raises(ValueError, match=r"head.weight: is not known here|there, of 2 here"):
        load(second, path, layout, **SAID.get(layout, {}))


def test_names_in_files(tmp_path: Path) -> None:
    save(ours("LSTM"), tmp_path / "a.npz", prefix="encoder.")
    assert list(np.load(tmp_path / "a.npz")) == [f"encoder.{name}" for name in ours("LSTM").state_dict()]
    save(ours("LSTM", 2), tmp_path / "b.npz", "chainer")  # what chainer.serializers.save_npz makes of an NStepLSTM
    with np.load(tmp_path / "b.npz") as file:
        assert set(file) == {f"{k}/{letter}{j}" for k in range(2) for letter in "wb" for j in range(8)}
        read(ours("LSTM", 2), file, "chainer")


# --- what does not fit ---


def refused(module: Any, weights: Any, layout: str, **options: Any) -> str:
    """The message; and nothing was changed."""
    before = {name: p.numpy().copy() for name, p in module.state_dict().items()}
    with pytest.raises((ValueError, TypeError)) as info:
        read(module, weights, layout, **options)
    np.testing.assert_equal({name: p.numpy() for name, p in module.state_dict().items()}, before)
    return str(info.value)


def changed(weights: Any, **arrays: Any) -> Any:
    (unit,) = weights if isinstance(weights, list) else [weights]
    return {name: array for name, array in (unit | arrays).items() if array is not None}


BEFORE = re.escape("computes tanh(W x + U (r · h)), which is not PyTorch's tanh(W x + r · (U h))")


@pytest.mark.parametrize(
    ("kind", "layout", "make", "message"),
    [
        ("LSTM", "torch", lambda: write(nn.LSTM(F, 6)),
         r"weight_ih_l0: has shape \(24, 3\) there, \(16, 3\) here: hidden size 6 there, 4 here\n"
         r"  weight_hh_l0: has shape \(24, 6\) there, \(16, 4\) here: hidden size 6 there, 4 here\n  bias_ih_l0: "),
        ("LSTM", "torch", lambda: write(nn.GRU(F, H)), r"weight_ih_l0: .*: the gates of GRU there, of LSTM here\n"),
        ("GRU", "flax", lambda: write(nn.GRU(F, 5), "flax"), r"ir/kernel: .*: hidden size 5 there, 4 here"),
        ("LSTM", "keras", lambda: write(nn.RNN(F, H), "keras"), r"bias: .*: the gates of RNN there, of LSTM here"),
        ("LSTM", "onnx", lambda: write(nn.RNN(F, H), "onnx"), r"B: .*: the gates of RNN there, of LSTM here"),
        ("LSTM", "torch", lambda: write(nn.LSTM(7, H)), r"weight_ih_l0: .*: input size 7 there, 3 here$"),
        ("LSTM", "keras", lambda: write(nn.LSTM(7, H), "keras"), r"0/kernel: .*: input size 7 there, 3 here$"),
        ("LSTM", "keras", lambda: changed(write(nn.LSTM(F, H), "keras"), kernel=np.zeros((16, 3))),
         r"0/kernel: has shape \(16, 3\) there, \(3, 16\) here: transposed\?$"),
        ("LSTM", "torch", lambda: write(nn.LSTM(F, H, bidirectional=True)),
         r"weight_ih_l0_reverse: is not known here: bidirectional there\n"),
        ("LSTM", "torch", lambda: write(nn.LSTM(F, H, proj_size=2)), r"weight_hr_l0: is not known here: a projection"),
        ("LSTM", "keras", lambda: write(nn.LSTM(F, H, bidirectional=True), "keras"),
         r"kernel: is missing there\n(.*\n)*.*backward_kernel: is not known here: bidirectional there"),
        ("LSTM", "keras", lambda: write(nn.LSTM(F, H, 2), "keras"), r"weights of 2 layers there, of 1 here"),
        ("LSTM", "chainer", lambda: write(nn.LSTM(F, H, 2), "chainer"), r"weights of 2 cells there, of 1 here"),
        ("LSTM", "keras", lambda: [np.zeros(1)] * 4, r"4 arrays there, 3 here: kernel, recurrent_kernel, bias"),
        ("LSTM", "keras", lambda: 3, r"takes a dictionary of arrays, got int"),
        ("LSTM", "torch", lambda: [1], r"takes a dictionary of arrays, got list"),
        ("LSTM", "torch", lambda: {}, r"weight_ih_l0: is missing there\n  weight_hh_l0: is missing there$"),
        ("LSTM", "torch", lambda: changed(write(nn.LSTM(F, H)), bias_hh_l0=None),
         r"bias_hh_l0: is missing there: some biases are there, some not$"),
        ("LSTM", "torch", lambda: changed(write(nn.LSTM(F, H)), weight_ih_l0=None, extra=1),
         r"weight_ih_l0: is missing there\n  extra: is not known here$"),
        ("LSTM", "torch", lambda: changed(write(nn.LSTM(F, H)), weight_ih_l0="text"), r"weight_ih_l0: .*cannot make"),
        ("LSTM", "onnx", lambda: changed(write(nn.LSTM(F, H), "onnx"), P=np.zeros((1, 3 * H))),
         r"0/P: is not known here: peepholes, which nn.LSTM does not have$"),
        ("LSTM", "onnx", lambda: write(nn.LSTM(F, H, bidirectional=True), "onnx"),
         r"0/W: has shape \(2, 16, 3\) there, \(1, 16, 3\) here: bidirectional=True there, False here"),
        ("LSTM", "onnx", lambda: changed(write(nn.LSTM(F, H), "onnx"), W=np.zeros((16, 3))),
         r"0/W: .*: its first axis is the directions$"),
        ("GRU", "onnx", lambda: write(nn.GRU(F, H), "onnx"),
         "don't show .* Pass reset_after=True if the node has linear_before_reset=1; with =0, its default, it "
         + BEFORE),
        ("GRU", "keras", lambda: changed(write(nn.GRU(F, H), "keras"), bias=np.zeros(3 * H)),
         r"0/bias: .*: reset_after=False, with which a GRU " + BEFORE),
    ],
)  # fmt: skip
def test_what_does_not_fit(kind: str, layout: str, make: Callable[[], Any], message: str) -> None:
    shown = refused(ours(kind), make(), layout)
    assert re.search(message, shown), shown
    assert shown.startswith("interchange: ")


@pytest.mark.parametrize("layout", ["keras", "onnx", "torch"])
def test_a_gru_that_resets_before_is_refused(layout: str) -> None:
    shown = refused(ours("GRU"), write(ours("GRU"), layout), layout, reset_after=False)
    assert re.search(f"a GRU with reset_after=False {BEFORE}; it cannot be read", shown)


def test_biases_of_zeros_and_none_are_the_same() -> None:
    plain, biased = ours("LSTM", bias=False), ours("LSTM")
    counts = {layout: (len(leaves(write(plain, layout))), len(leaves(write(biased, layout)))) for layout in LAYOUTS}
    assert counts == {
        "torch": (2, 4), "keras": (2, 3), "onnx": (2, 3),
        "flax": (12, 12), "chainer": (16, 16), "chainer-link": (3, 3), "char-rnn": (4, 4),  # always have them
    }  # fmt: skip
    for layout in LAYOUTS:
        weights = write(plain, layout)
        read(biased, weights, layout)
        np.testing.assert_allclose(output(biased, data()), output(plain, data()), atol=1e-12)
        read(plain, write(biased, layout), layout)
    shown = refused(plain, write(ours("LSTM")), "torch")
    assert "bias_ih_l0: is not zero there, and the module has no biases: make it with bias=True" in shown


@pytest.mark.parametrize(
    ("make", "layout", "message"),
    [
        (lambda: nn.Linear(3, 4), "torch", "takes nn.RNN, nn.LSTM, nn.GRU and their cells, got Linear"),
        (lambda: nn.PeepholeLSTMCell(3, 4), "torch", "got PeepholeLSTMCell"),
        (lambda: nn.Recurrent(nn.LSTMCell, 3, 4), "torch", "got Recurrent"),
        (lambda: nn.LSTM(3, 4), "caffe", "there is no layout 'caffe'; there are torch, keras, flax, onnx, chainer"),
        (lambda: nn.LSTM(3, 4, proj_size=2), "keras", "Keras 3 .* has no projections of the output"),
        (lambda: nn.LSTM(3, 4, learned_state=True), "flax", "has no initial states that are learned"),
        (lambda: nn.LSTM(3, 4, bidirectional=True), "char-rnn", "has no layers in both directions"),
        (lambda: nn.LSTM(3, 4, bidirectional=True), "chainer-link", "has no layers in both directions"),
        (lambda: nn.GRU(3, 4), "char-rnn", "has no GRU: char-rnn's " + BEFORE),
        (lambda: nn.GRU(3, 4), "chainer-link", "has no GRU: links.GRU " + BEFORE + "; NStepGRU is the layout"),
        (lambda: nn.RNN(3, 4), "chainer-link", "has no RNN: .*NStepRNN is the layout 'chainer'"),
    ],
)  # fmt: skip
def test_modules_that_a_library_has_not(make: Callable[[], Any], layout: str, message: str) -> None:
    for use in (lambda: write(make(), layout), lambda: read(make(), {}, layout)):
        with pytest.raises(ValueError, match=message):
            use()


# --- the page ---


def test_the_page_has_the_table() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "interchange.md").read_text("utf-8")
    assert table() in page


@pytest.mark.parametrize(("layout", "kind"), PAIRS)
def test_shapes_in_the_table(layout: str, kind: str) -> None:
    options: Any = {"proj_size": 2} if (layout, kind) == ("torch", "LSTM") else {}
    both = LAYOUTS[layout].directions == 2
    row = next(r for r in table().splitlines() if r.startswith(f"| `{layout}` | {kind} |"))
    unit = write(ours(kind, both=both, **options), layout)
    flat = flat_names(unit if isinstance(unit, dict) else unit[0])
    found = set()
    for name, letters in re.findall(r"`([^`]+)` (\([^)]+\))", row):
        shape = eval(re.sub(r"(\d)([A-Z])", r"\1*\2", letters), {"F": F, "H": H, "D": 1 + both, "P": 2})
        pattern = re.sub(r"\\{\w+\\}", r"\\w*", re.escape(name))
        matching = {n: a.shape for n, a in flat.items() if re.fullmatch(pattern, n)}
        if options and "weight_hh" in name:
            shape = (4 * H, 2)  # the width of what is fed back is P
        assert matching, name
        found |= {n for n, s in matching.items() if s == shape}
    assert found == set(flat)


def flat_names(node: Any, path: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in node.items():
        result |= flat_names(value, f"{path}{name}/") if isinstance(value, dict) else {f"{path}{name}": value}
    return result
