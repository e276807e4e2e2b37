"""Sequences of different lengths in recurrent layers: each gives what it gives alone, also where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
import tinygrad_seq as tg

from ..profiles import one_in
from .test_recurrent import KINDS, close, made, tensors


@pytest.mark.parametrize("form", ["lengths", "mask", "gaps", "list", "packed"])
@one_in(3)
@given(data=st.data())
def test_each_sequence_gives_what_it_gives_alone(form: str, data: st.DataObject) -> None:
    """Values and gradients, whatever stands in the padding."""
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    options = {"num_layers": data.draw(st.integers(1, 2)), "bidirectional": data.draw(st.booleans())}
    batch_first = data.draw(st.booleans()) and form in ("lengths", "mask", "gaps")
    lengths = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=4).filter(any))
    T, B = data.draw(st.integers(max(lengths), 5)), len(lengths)
    tg.manual_seed(data.draw(st.integers(0, 99)))
    module = made(kind, **options, batch_first=batch_first)
    sequences = [tg.randn(n, 3, dtype=tg.float64) for n in lengths]
    count = options["num_layers"] * (1 + options["bidirectional"])
    initial = [tg.randn(count, B, size, dtype=tg.float64) for size in module._sizes[0]]

    def given_state(rows: Any) -> Any:
        parts = tuple([s[:, rows] for s in initial])
        return parts if len(parts) > 1 else parts[0]

    alone, grads = [], []
    module.zero_grad()
    for b, x in enumerate(sequences):
        if len(x):
            output, state = module(x.unsqueeze(0 if batch_first else 1), given_state(slice(b, b + 1)))
            output = output[0] if batch_first else output[:, 0]
        else:  # nothing happens to the state of a sequence of no steps
            output = tg.zeros(0, module._sizes[0][0] * (1 + options["bidirectional"]), dtype=tg.float64)
            state = given_state(slice(b, b + 1))
        alone.append((output, tensors(state)))
        ((output**2).sum() + sum([(s.sin() * (j + 1)).sum() for j, s in enumerate(tensors(state))])).backward() if len(
            x
        ) else None
    grads = [p.grad for p in module.parameters()]

    steps = [sorted(data.draw(st.permutations(range(T)))[:n]) if form == "gaps" else list(range(n)) for n in lengths]
    padded = np.full((T, B, 3), np.nan)
    mask = np.zeros((T, B), bool)
    for b, at in enumerate(steps):
        padded[at, b], mask[at, b] = sequences[b].numpy(), True
    x = tg.tensor(padded.swapaxes(0, 1) if batch_first else padded)
    module.zero_grad()
    state = given_state(slice(None))
    if form == "lengths":
        output, final = module(x, state, lengths=tg.tensor(lengths))
    elif form in ("mask", "gaps"):
        output, final = module(x, state, mask=mask.T if batch_first else mask)
    elif form == "list":
        listed, final = module(sequences, state)
        assert [y.shape[0] for y in listed] == lengths
        output = nn.utils.rnn.pad_sequence([*listed, tg.zeros(T, listed[0].shape[1], dtype=tg.float64)])[:, :B]
    else:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        packed_output, final = module(packed, state)
        output, found = nn.utils.rnn.pad_packed_sequence(packed_output, total_length=T)
        assert found.tolist() == lengths
    output = output.transpose(0, 1) if batch_first else output
    loss = (output**2).sum()
    kept = tg.tensor([n > 0 for n in lengths])
    for j, s in enumerate(tensors(final)):
        loss = loss + (s[:, kept].sin() * (j + 1)).sum()
    loss.backward()
    for b, (wanted, states) in enumerate(alone):
        close(output[steps[b], b], wanted)
        for s, w in zip(tensors(final), states, strict=True):
            close(s[:, b : b + 1], w)
    assert not output.detach().numpy()[~mask].any()
    for p, g in zip(module.parameters(), grads, strict=True):
        assert p.grad is not None
        assert g is not None
        close(p.grad, g)


def test_gradients_of_sequences_of_different_lengths() -> None:
    for kind in KINDS:
        module = made(kind, bidirectional=True)
        tg.gradcheck(lambda x, m=module: m(x, lengths=[2, 0, 3])[0], tg.randn(3, 3, 3, dtype=tg.float64))


def test_lengths_that_do_not_fit() -> None:
    lstm, x = nn.LSTM(3, 4), tg.ones(5, 2, 3)
    rnn = nn.utils.rnn
    packed = rnn.pack_padded_sequence(x, [5, 2])
    for message, call in (
        ("LSTM: got 3 lengths for a batch of 2", lambda: lstm(x, lengths=[1, 2, 3])),
        ("LSTM: the sequences are padded to T=5 .* got 6.*batch_first", lambda: lstm(x, lengths=[6, 1])),
        ("LSTM: the sequences are padded to T=5 .* got -1", lambda: lstm(x, lengths=[-1, 1])),
        ("LSTM: lengths must be integers", lambda: lstm(x, lengths=[1.5, 1])),
        ("LSTM: lengths must be integers", lambda: lstm(x, lengths=3)),
        ("LSTM: the mask must be booleans of shape .5, 2.", lambda: lstm(x, mask=tg.ones(5, 2))),
        ("LSTM: the mask must be booleans of shape .5, 2.", lambda: lstm(x, mask=tg.ones(2, 5, dtype=tg.bool))),
        ("LSTM: pass a padded tensor with lengths or with a mask", lambda: lstm(x, lengths=[1, 1], mask=x)),
        ("LSTM: pass a padded tensor", lambda: lstm(packed, lengths=[1, 1])),
        ("LSTM: lengths and masks are for batches", lambda: lstm(x[:, 0], lengths=[1])),
        ("LSTM: the list of sequences is empty", lambda: lstm([])),
        ("LSTM: x has shape .2, 2.; takes a list", lambda: lstm([tg.ones(2, 2)])),
        ("LSTM: x has shape .4, 2.; takes packed", lambda: lstm(rnn.pack_padded_sequence(tg.ones(2, 2, 2), [2, 2]))),
        ("pack_padded_sequence: the lengths .1, 5. must come", lambda: rnn.pack_padded_sequence(x, [1, 5])),
        ("pad_packed_sequence: total_length=2 is shorter", lambda: rnn.pad_packed_sequence(packed, total_length=2)),
        ("pad_sequence: takes at least one", lambda: rnn.pad_sequence([])),
        ("pad_sequence: sequences must be", lambda: rnn.pad_sequence([x, x[0]])),
        ("pad_sequence: padding_side", lambda: rnn.pad_sequence([x], padding_side="top")),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            call()


# --- no steps at all ---


ON_NOTHING: dict[str, Any] = {
    "no sequences": lambda layer: layer(tg.zeros(4, 0, 3)),
    "no lengths": lambda layer: layer(tg.full((4, 2, 3), float("nan")), lengths=[0, 0]),
    "all masked": lambda layer: layer(tg.full((4, 2, 3), float("nan")), mask=tg.zeros(4, 2, dtype=tg.bool)),
    "a list": lambda layer: layer([tg.zeros(0, 3), tg.zeros(0, 3)]),
}
CELLS = [
    "RNNCell",
    "LSTMCell",
    "GRUCell",
    "PeepholeLSTMCell",
    "LayerNormRNNCell",
    "LayerNormLSTMCell",
    "LayerNormGRUCell",
    "SLSTMCell",
    "MinGRUCell",
    "MinLSTMCell",
    "LRUCell",
]


@pytest.mark.parametrize("given", ON_NOTHING)
@pytest.mark.parametrize("name", [*CELLS, "RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("settings", [{}, {"bidirectional": True, "num_layers": 2}, {"zoneout": 0.2}], ids=str)
def test_on_nothing_every_gradient_is_0(given: str, name: str, settings: dict[str, Any]) -> None:
    kind: Any = getattr(nn, name)
    if name == "SLSTMCell" and "zoneout" in settings:  # of the output alone
        settings = {"zoneout": (0.2, 0.0, 0.0, 0.0)}
    layer = nn.Recurrent(kind, 3, 4, **settings) if name in CELLS else kind(3, 4, **settings)
    output, state = ON_NOTHING[given](layer)
    parts = output if isinstance(output, list) else [output]
    tensors = [state] if isinstance(state, tg.Tensor) else list(state)
    assert all(y.count_nonzero().item() == 0 for y in (*parts, *tensors))
    (sum(y.sum() for y in parts) + sum(s.sum() for s in tensors)).backward()
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert parameter.grad.count_nonzero().item() == 0


@pytest.mark.parametrize("enforce_sorted", [True, False])
@pytest.mark.parametrize(("T", "lengths"), [(3, [3, 0]), (3, [0, 0]), (0, [0, 0]), (3, []), (0, [])])
def test_packed_sequences_of_no_steps(T: int, lengths: list[int], enforce_sorted: bool) -> None:
    B, lstm = len(lengths), nn.LSTM(2, 3)
    x = tg.ones(T, B, 2, requires_grad=True)
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=enforce_sorted)
    output, (h, _) = lstm(packed)
    padded, found = nn.utils.rnn.pad_packed_sequence(output, total_length=T)
    expected, (expected_h, _) = lstm(x, lengths=lengths)
    assert (padded.tolist(), h.tolist(), found.tolist()) == (expected.tolist(), expected_h.tolist(), lengths)
    assert h.shape == (1, B, 3)
    (padded.sum() + h.sum()).backward()
    assert x.grad is not None
    assert x.grad.shape == (T, B, 2)
    assert all(p.grad is not None and (any(lengths) or not p.grad.any()) for p in lstm.parameters())
