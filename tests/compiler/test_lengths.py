"""Lengths and masks that vary from call to call of a compiled function: one program, and an eager call's numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg

from .test_agreement import both

T, B = 5, 4
LENGTHS = [[5, 3, 1, 0], [2, 4, 0, 5], [0, 0, 0, 0], [5, 5, 5, 5]]


class Logarithmic(nn.Cell):
    """A cell whose derivatives at 0 are infinite, in the input and in what it makes of the state."""

    states = ("h", "n")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Parameter(tg.linspace(0.1, 0.4, input_size * hidden_size).reshape(input_size, hidden_size))

    def project(self, x: tg.Tensor) -> tg.Tensor:
        return tg.log(x * x) @ self.W

    def step(self, x: tg.Tensor, state: Any) -> Any:
        h, n = state
        return 0.5 * h + tg.cos(x), n + tg.tanh(h)


class Drawing(nn.RNNCell):
    """A cell that drops elements of what it is given."""

    def step(self, xW: tg.Tensor, h: tg.Tensor) -> tg.Tensor:
        return super().step(F.dropout(xW, 0.5), h)


class Normalising(nn.RNNCell):
    """A cell that normalises over the batch."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.norm = nn.BatchNorm1d(hidden_size)

    def project(self, x: tg.Tensor) -> tg.Tensor:
        return self.norm(super().project(x))


LAYERS: dict[str, Callable[[], Any]] = {
    "RNN": lambda: nn.RNN(3, 4, nonlinearity="relu"),
    "GRU": lambda: nn.GRU(3, 4, bidirectional=True),
    "LSTM": lambda: nn.LSTM(3, 4, 2, bidirectional=True),
    "LSTM, projected": lambda: nn.LSTM(3, 4, 2, proj_size=2, bidirectional=True, batch_first=True),
    "LSTM, learned states": lambda: nn.LSTM(3, 4, learned_state=True),
    "LSTM, dropout": lambda: nn.LSTM(3, 4, 2, dropout=0.5, variational=True, recurrent_dropout=0.3, bidirectional=True),
    "GRU, widths": lambda: nn.GRU(3, [4, 2]),
    "GRU, zoneout": lambda: nn.GRU(3, 4, 2, dropout=0.5, zoneout=0.3).eval(),
    "peepholes": lambda: nn.Recurrent(nn.PeepholeLSTMCell, 3, 4, batch_first=True),
    "layer norm": lambda: nn.Recurrent(nn.LayerNormGRUCell, 3, 4, 2, bidirectional=True),
    "minGRU": lambda: nn.Recurrent(nn.MinGRUCell, 3, 4, 2, bidirectional=True),
    "LRU": lambda: nn.Recurrent(nn.LRUCell, 3, 4, bidirectional=True),
    "sLSTM, learned states": lambda: nn.Recurrent(nn.SLSTMCell, 3, 4, learned_state=True),
    "logarithms": lambda: nn.Recurrent(Logarithmic, 3, 4, 2, bidirectional=True),
}


def tensors(x: Any) -> list[tg.Tensor]:
    return [x] if isinstance(x, tg.Tensor) else [t for part in x for t in tensors(part)]


def steps_there(lengths: list[int], gaps: bool, seed: int = 0) -> Any:
    """(T, B) which steps are there: the first ones, or some."""
    there = np.arange(T)[:, None] < np.array(lengths)
    return np.random.default_rng(seed).permuted(there, axis=0) if gaps else there


def batch(layer: Any, there: Any, seed: int) -> tg.Tensor:
    """Sequences with nan where nothing is."""
    x = np.random.default_rng(seed).standard_normal((T, B, 3))
    x[~there] = np.nan
    return tg.tensor(x.swapaxes(0, 1) if layer.batch_first else x)


def walked(layer: Any, run: Callable[..., Any], x: tg.Tensor, steps: Any, state: Any) -> list[Any]:
    """What a layer gives, and the gradients of everything."""
    tg.manual_seed(7)
    layer.zero_grad()
    x = x.detach().requires_grad_()
    parts = [s.detach().requires_grad_() for s in state]
    output, final = run(x, steps, (tuple(parts) if len(parts) > 1 else parts[0]) if parts else None)
    loss = (output.sin() * tg.arange(1, 1 + output.shape[-1], device=x.device)).sum()
    sum([(s**2).sum() for s in tensors(final)], start=loss).backward()
    assert x.grad is not None
    return [output, *tensors(final), x.grad, *[s.grad for s in parts], *[p.grad for p in layer.parameters()]]


def agree(found: list[Any], expected: list[Any]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert np.isfinite(b.detach().numpy()).all()
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-10, atol=1e-12)


def compared(layer: Any, form: str, **settings: Any) -> None:
    def call(x: tg.Tensor, steps: Any, state: Any) -> Any:
        return layer(x, state, **{"lengths" if form == "lengths" else "mask": steps})

    compiled = tg.compile(call, **settings)
    given = hasattr(layer, "_stacked") and layer._stacked and not layer.learned_state
    for k, lengths in enumerate(LENGTHS):
        there = steps_there(lengths, form == "gaps", k)
        steps = tg.tensor(lengths if form == "lengths" else there.T if layer.batch_first else there)
        count = layer.num_layers * (1 + layer.bidirectional)
        state = [tg.randn(count, B, n, dtype=tg.float64) for n in layer._sizes[0]] if given else []
        x = batch(layer, there, k)
        agree(walked(layer, compiled, x, steps, state), walked(layer, call, x, steps, state))
    assert len(compiled.programs) == 1
    assert {i.line.partition(":")[0] for i in compiled.programs[0].instrs if i.op in ("matmul", "tanh")} == {__file__}


@pytest.mark.host("the host's executors")
@pytest.mark.parametrize("form", ["lengths", "gaps"])
@pytest.mark.parametrize("name", sorted(LAYERS))
@both
def test_a_layer_and_its_gradients(name: str, form: str, executor: str) -> None:
    compared(LAYERS[name]().double(), form, executor=executor)


@pytest.mark.parametrize("form", ["lengths", "gaps"])
def test_on_each_device(form: str) -> None:
    compared(nn.LSTM(3, 4, 2, bidirectional=True).double(), form)


def test_verified() -> None:
    compared(nn.GRU(3, 4, bidirectional=True).double(), "lengths", mode="verify")


# --- where lengths come from ---


ON_THE_HOST = pytest.param("array", marks=pytest.mark.host("an array of NumPy's is on the host"))


@pytest.mark.parametrize("where", ["argument", ON_THE_HOST, "captured", "attribute", "made inside", "small integers"])
def test_wherever_they_come_from(where: str) -> None:
    lstm: Any = nn.LSTM(3, 4).double()
    kept = tg.tensor(LENGTHS[0])
    lstm.register_buffer("kept", tg.tensor(LENGTHS[0]))
    tokens = tg.zeros(B, T, dtype=tg.int64)

    def call(x: tg.Tensor, lengths: Any) -> Any:
        if where == "captured":
            lengths = kept
        elif where == "attribute":
            lengths = lstm.kept
        elif where == "made inside":
            lengths = (lengths > 0).sum(1)
        elif where == "small integers":
            lengths = lengths.to(tg.uint8)
        output, (h, c) = lstm(x, lengths=lengths)
        return output, h, c

    compiled = tg.compile(call)
    for k, lengths in enumerate(LENGTHS):
        kept.copy_(tg.tensor(lengths))
        lstm.kept.copy_(tg.tensor(lengths))
        tokens.copy_(tg.tensor(steps_there(lengths, gaps=True).T.astype(int)))
        given: Any = {"array": np.array(lengths), "made inside": tokens}.get(where, tg.tensor(lengths))
        x = batch(lstm, steps_there(lengths, gaps=False), k)
        agree([*compiled(x, given)], [*call(x, given)])
    assert len(compiled.programs) == 1


def test_those_that_are_the_same_at_each_call_are_packed() -> None:
    lstm = nn.LSTM(3, 4).double()

    def call(x: tg.Tensor) -> tg.Tensor:
        return lstm(x, lengths=tg.ones(B, dtype=tg.int64) * 2)[0]

    compiled = tg.compile(call)
    x = batch(lstm, steps_there([2] * B, gaps=False), 0)
    agree([compiled(x)], [call(x)])
    assert [i.op for i in compiled.programs[0].instrs].count("tanh") == 2 * 2  # two of five steps


def test_a_list_is_a_part_of_the_program() -> None:
    lstm, x = nn.LSTM(3, 4), tg.randn(T, B, 3)
    compiled = tg.compile(lambda x, n: lstm(x, lengths=n)[0])
    for lengths in ([5, 3, 1, 0], [2, 4, 5, 5], [5, 3, 1, 0]):
        assert tg.allclose(compiled(x, lengths), lstm(x, lengths=lengths)[0], 1e-5, 1e-6)


# --- training ---


@pytest.mark.host("the host's executors")
@both
def test_a_training_step(executor: str) -> None:
    seen: list[list[Any]] = []
    for compiled in (False, True):
        tg.manual_seed(0)
        embedding, lstm = nn.Embedding(7, 3), nn.LSTM(3, 4, 2, dropout=0.3, variational=True, recurrent_dropout=0.2)
        head, weights = nn.Linear(4, 7), [*embedding.parameters(), *lstm.parameters()]
        embedding.double(), lstm.double(), head.double()
        optimizer = nn.optim.Adam([*weights, *head.parameters()], lr=0.01)

        def step(tokens: tg.Tensor, lengths: tg.Tensor, e: Any = embedding, m: Any = lstm, o: Any = optimizer) -> Any:
            output, (h, _) = m(e(tokens), lengths=lengths)
            there = tg.arange(T).unsqueeze(1) < lengths
            logits = head(output)  # noqa: B023, of this turn
            loss = F.cross_entropy(logits.reshape(T * B, 7), tg.where(there, tokens, -100).reshape(T * B))
            loss = loss + 0.1 * (h**2).sum()
            o.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 1.0)  # noqa: B023
            o.step()
            return loss.detach()

        run: Any = tg.compile(step, executor=executor) if compiled else step
        losses = []
        for k, lengths in enumerate([LENGTHS[k] for k in (0, 1, 3, 0, 1)]):
            tg.manual_seed(k)
            losses.append(run(tg.randint(7, (T, B)), tg.tensor(lengths)))
        seen.append([*losses, *weights, *head.parameters()])
        assert not compiled or len(run.programs) == 1
    agree(*seen)


# --- what does not fit ---


def test_lengths_are_looked_at_by_each_replay() -> None:
    lstm = nn.LSTM(3, 4)
    compiled = tg.compile(lambda x, n: lstm(x, lengths=n)[0])
    x = tg.ones(T, B, 3)
    for wrong in (6, -1):
        with pytest.raises(ValueError, match=rf"LSTM: the sequences are padded to T=5 .* got {wrong}. Is"):
            compiled(x, tg.tensor([1, 2, 3, wrong]))
    good = tg.tensor([1, 2, 3, 4])
    assert tg.allclose(compiled(x, good), lstm(x, lengths=good)[0], 1e-5, 1e-6)
    for wrong in (6, -1):
        with pytest.raises(ValueError, match=rf"LSTM: the sequences are padded to T=5 .* got {wrong}. Is"):
            compiled(x, tg.tensor([1, 2, 3, wrong]))
    with pytest.raises(TypeError, match="LSTM: lengths must be integers"):
        compiled(x, tg.ones(B))
    with pytest.raises(TypeError, match="LSTM: lengths must be integers, one per sequence"):
        compiled(x, tg.ones(B, 1, dtype=tg.int64))
    with pytest.raises(ValueError, match="LSTM: got 3 lengths for a batch of 4"):
        compiled(x, tg.tensor([1, 2, 3]))
    masked = tg.compile(lambda x, m: lstm(x, mask=m)[0])
    with pytest.raises(ValueError, match=r"LSTM: the mask must be booleans of shape .5, 4."):
        masked(x, tg.ones(T, B))


def packed(x: tg.Tensor, n: tg.Tensor) -> Any:
    return nn.LSTM(3, 4)(nn.utils.rnn.pack_padded_sequence(x, n, enforce_sorted=False))[0].data


def unpadded(x: tg.Tensor, n: tg.Tensor) -> Any:
    return nn.utils.rnn.unpad_sequence(x, n)


LAYER: dict[str, Callable[[], Any]] = {
    "dropout between layers": lambda: nn.LSTM(3, 4, 2, dropout=0.5),
    "zoneout": lambda: nn.GRU(3, 4, zoneout=0.1),
    "a cell that draws": lambda: nn.Recurrent(Drawing, 3, 4),
    "a cell that normalises over a batch": lambda: nn.Recurrent(Normalising, 3, 4),
}
OVER_ALL_STEPS = "^compile: where lengths or a mask are tensors, "
REFUSED: dict[str, str] = {
    "dropout between layers": "LSTM goes over all T steps, and dropout between layers .*variational=True",
    "zoneout": "GRU goes over all T steps, and dropout between layers and zoneout would draw.*as a list",
    "a cell that draws": "Recurrent goes over all T steps, and its cell would draw random numbers.*as a list",
    "a cell that normalises over a batch": "Recurrent goes over all T steps, and batch_norm would take means",
}


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_what_would_give_other_numbers_is_refused(what: str) -> None:
    layer = LAYER[what]()
    x, n = tg.ones(T, B, 3), tg.tensor([5, 3, 2, 1])
    compiled = tg.compile(lambda x, n: layer(x, lengths=n)[0])
    before = tg.default_generator.get_state()
    with pytest.raises(tg.CompileError, match=OVER_ALL_STEPS + REFUSED[what]):
        compiled(x, n)
    assert tg.default_generator.get_state() == before
    layer.eval()
    if what != "a cell that draws":
        assert tg.allclose(compiled(x, n), layer(x, lengths=n)[0], 1e-5, 1e-6)


@pytest.mark.parametrize("function", [packed, unpadded])
def test_packing_is_refused_with_the_way_out(function: Any) -> None:
    with pytest.raises(tg.CompileError, match=r"^compile: (un|pack_)pad\w*_sequence packs.*lengths= or mask="):
        tg.compile(function)(tg.ones(T, B, 3), tg.tensor([5, 3, 2, 1]))


def test_packed_sequences_as_arguments_are_refused_with_the_way_out() -> None:
    lstm = nn.LSTM(3, 4)
    sequences = nn.utils.rnn.pack_padded_sequence(tg.ones(T, B, 3), [5, 3, 2, 1])
    with pytest.raises(tg.CompileError, match=r"^compile: LSTM packs .*lengths= or mask="):
        tg.compile(lambda p: lstm(p)[0].data)(sequences)
    with pytest.raises(tg.CompileError, match=r"^compile: pad_packed_sequence packs .*lengths="):
        tg.compile(lambda p: nn.utils.rnn.pad_packed_sequence(p)[0])(sequences)


# --- connectionist temporal classification ---

FRAMES, SIZES = [[6, 4, 3], [2, 6, 0], [5, 5, 6]], [[3, 1, 0], [2, 3, 1], [0, 2, 3]]  # two of them with too few frames


@pytest.mark.host("the host's executors")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("vary", ["both", "frames", "targets"])
@both
def test_ctc(vary: str, reduction: str, executor: str) -> None:
    def call(log_probs: tg.Tensor, targets: tg.Tensor, frames: Any, sizes: Any) -> tg.Tensor:
        frames, sizes = [FRAMES[0], frames][vary != "targets"], [SIZES[0], sizes][vary != "frames"]
        return F.ctc_loss(log_probs, targets, frames, sizes, 2, reduction, zero_infinity=reduction != "none")

    compiled = tg.compile(call, executor=executor)
    rng = np.random.default_rng(0)
    for frames, sizes in zip(FRAMES, SIZES, strict=True):
        numbers = tg.log_softmax(tg.tensor(rng.standard_normal((6, 3, 5))), 2).numpy().copy()
        labels = rng.choice([0, 1, 3, 4], (3, 4))
        for b, n in enumerate(FRAMES[0] if vary == "targets" else frames):
            numbers[n:, b] = np.nan
        for b, n in enumerate(SIZES[0] if vary == "frames" else sizes):
            labels[b, n:] = -7
        found = []
        for run in (compiled, call):
            x = tg.tensor(numbers, requires_grad=True)
            losses = run(x, tg.tensor(labels), tg.tensor(frames), tg.tensor(sizes))
            tg.where(losses == np.inf, 0.0, losses).sum().backward()
            assert x.grad is not None
            found.append([losses.detach().numpy(), x.grad.numpy()])
        assert np.isfinite(found[1][1]).all()
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    assert len(compiled.programs) == 1


def test_ctc_looks_at_each_replay() -> None:
    compiled = tg.compile(F.ctc_loss)
    log_probs, targets = tg.log_softmax(tg.ones(4, 2, 3), 2), tg.tensor([[1, 2], [2, 1]])
    frames, sizes = tg.tensor([4, 3]), tg.tensor([2, 1])
    for _ in range(2):
        found, expected = [f(log_probs, targets, frames, sizes).item() for f in (compiled, F.ctc_loss)]
        assert found == pytest.approx(expected)
        with pytest.raises(ValueError, match="ctc_loss: input_lengths holds 5, but must be from 0 to 4"):
            compiled(log_probs, targets, frames + 1, sizes)
        with pytest.raises(ValueError, match="ctc_loss: target_lengths holds -1, but must be from 0 to 2"):
            compiled(log_probs, targets, frames, sizes - 2)
    assert len(compiled.programs) == 1


def test_ctc_of_targets_one_after_another() -> None:
    compiled, log_probs = tg.compile(F.ctc_loss), tg.log_softmax(tg.randn(6, 3, 4, dtype=tg.float64), 2)
    targets, frames = tg.tensor([1, 2, 2, 3]), tg.tensor([6, 5, 4])
    for sizes in ([2, 1, 1], [0, 4, 0], [1, 0, 3]):
        agree(*[[f(log_probs, targets, frames, tg.tensor(sizes), reduction="sum")] for f in (compiled, F.ctc_loss)])
    with pytest.raises(ValueError, match="ctc_loss: target_lengths add up to 5, but there are 4 targets"):
        compiled(log_probs, targets, frames, tg.tensor([2, 2, 1]), reduction="sum")
    assert len(compiled.programs) == 1
