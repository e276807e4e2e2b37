"""What the recurrent layers promise beyond PyTorch's: lengths, states, options, cells of one's own."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
import tinygrad_seq as tg
from tinygrad_seq.graph.batch_shard import BatchShard, set_shard

from ..profiles import one_in

KINDS: dict[str, dict[str, Any]] = {"LSTM": {}, "GRU": {}, "RNN": {}, "LSTM projected": {"proj_size": 2}}


def made(kind: str, **options: Any) -> Any:
    return getattr(nn, kind.partition(" ")[0])(3, 4, **KINDS[kind], **options, dtype=tg.float64)


def tensors(state: Any) -> list[tg.Tensor]:
    return [t for s in state for t in tensors(s)] if isinstance(state, tuple) else [state]


def close(a: tg.Tensor, b: tg.Tensor) -> None:
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-12)


class Leaky(nn.Cell):
    """A cell of somebody's own."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.U, self.W = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)

    def step(self, x: tg.Tensor, h: tg.Tensor) -> tg.Tensor:
        return 0.9 * h + 0.1 * tg.tanh(self.U(x) + self.W(h))


# --- lengths ---


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


# --- states ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_is_one_thing(kind: str) -> None:
    module = made(kind)
    x = tg.randn(4, 3, 3, dtype=tg.float64)
    _, state = module(x)
    assert isinstance(state, nn.State)
    assert all(s.requires_grad for s in tensors(state))
    cut = state.detach()
    assert type(cut) is type(state)
    assert not any(s.requires_grad for s in tensors(cut))
    assert all(s.dtype == tg.float32 for s in tensors(cut.to(tg.float32)))
    for rows in ([1], tg.tensor([False, True, False])):
        begun = state.reset(rows)
        for s, old in zip(tensors(begun), tensors(state), strict=True):
            assert not s[:, 1].detach().numpy().any()
            close(s[:, ::2], old[:, ::2])
    assert not any(s.detach().numpy().any() for s in tensors(state.reset()))
    whole, _ = module(tg.cat([x, x]))
    close(module(x, cut)[0], whole[4:])
    assert all(type(s) is tg.Tensor for s in tensors(copy.deepcopy(cut).map(lambda s: s * 1))) or kind != "LSTM"
    with pytest.raises(ValueError, match="has no batch"):
        module(x[:, 0])[1].reset([0])


def test_a_state_travels_with_a_checkpoint(tmp_path: Any) -> None:
    for kind in KINDS:
        _, state = made(kind)(tg.randn(4, 3, 3, dtype=tg.float64))
        tg.save({"state": state.detach()}, tmp_path / "state.npz")
        found: Any = tg.load(tmp_path / "state.npz")
        for a, b in zip(tensors(found["state"]), tensors(state), strict=True):
            close(a, b)


def test_a_state_of_an_earlier_graph_says_so() -> None:
    for kind in KINDS:
        module = made(kind)
        x = tg.randn(4, 3, 3, dtype=tg.float64)
        output, state = module(x)
        output.sum().backward()
        with pytest.raises(RuntimeError, match=r"recurrent state carried over.*state\.detach\(\)"):
            module(x, state)[0].sum().backward()


def test_states_that_do_not_fit() -> None:
    x, h = tg.ones(5, 2, 3), tg.zeros(1, 2, 4)
    for message, call in (
        (r"LSTM: the initial state is \(h_0, c_0\), got shape \(1, 2, 4\); pass both", lambda: nn.LSTM(3, 4)(x, h)),
        (r"GRU: the initial state is \(h_0\)", lambda: nn.GRU(3, 4)(x, (h, h))),
        (r"GRU: the initial state h has shape \(1, 2, 4\), but .* take \(2, 2, 4\)", lambda: nn.GRU(3, 4, 2)(x, h)),
        (r"GRU: the initial state h has shape \(1, 2, 4\), .* another size", lambda: nn.GRU(3, 4)(x[:, :1], h)),
        (r"LSTM: the initial state c has shape", lambda: nn.LSTM(3, 4)(x, (h, h[0]))),
        (r"take \(1, 4\): .* without B", lambda: nn.RNN(3, 4)(x[:, 0], h)),
        (r"Recurrent: .*\(1, B, H\) for each", lambda: nn.Recurrent(nn.GRUCell, 3, [4, 5], 2)(x, (h, h))),
    ):
        with pytest.raises(ValueError, match=message):
            call()


# --- cells of one's own, and layers of them ---


def test_a_cell_of_ones_own_is_a_layer() -> None:
    tg.manual_seed(0)
    module = nn.Recurrent(Leaky, 3, 4, num_layers=2, bidirectional=True).double()
    names = [name for name, _ in module.named_parameters()]
    assert names[0] == "cells.0.U.weight"
    assert len(names) == 4 * 4
    x = tg.randn(5, 2, 3, dtype=tg.float64)
    output, h = module(x, lengths=[5, 2])
    assert output.shape == (5, 2, 8)
    assert h.shape == (4, 2, 4)
    tg.gradcheck(lambda x: module(x, lengths=[5, 2])[0], x)
    one = nn.Recurrent(Leaky(3, 4))
    state = tg.zeros(2, 4)
    for t in range(5):
        state = one.cells[0](x[t].float(), state)
    close(one(x.float())[1][0], state)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_the_named_layers_are_layers_of_cells(kind: str) -> None:
    named = made(kind, num_layers=2, bidirectional=True)
    module = nn.Recurrent(getattr(nn, f"{kind}Cell"), 3, 4, num_layers=2, bidirectional=True, dtype=tg.float64)
    for cell, suffix in zip(module.cells, ("l0", "l0_reverse", "l1", "l1_reverse"), strict=True):
        weights = {n: p for n, p in named.state_dict().items() if n.endswith(f"_{suffix}")}
        cell.load_state_dict({n.removesuffix(f"_{suffix}"): p for n, p in weights.items()})
    x = tg.randn(5, 2, 3, dtype=tg.float64)
    for a, b in zip(tensors(named(x)), tensors(module(x)), strict=True):
        close(a, b)


def test_layers_of_different_widths() -> None:
    module = nn.LSTM(3, [4, 5], 2, dtype=tg.float64)
    x = tg.randn(6, 2, 3, dtype=tg.float64)
    output, state = module(x)
    assert output.shape == (6, 2, 5)
    assert [[s.shape for s in part] for part in state] == [[(1, 2, 4), (1, 2, 5)]] * 2
    _, half = module(x[:3])
    close(module(x[3:], half.detach())[0], output[3:])
    close(module(x[3:], half.reset([0]))[0][:, 1], output[3:, 1])
    gru = nn.GRU(3, (4, 2), 2, bidirectional=True)
    assert [s.shape for s in gru(x.float())[1]] == [(1, 2, 4), (1, 2, 4), (1, 2, 2), (1, 2, 2)]
    assert gru(x[:, 0].float(), gru(x[:, 0].float())[1])[0].shape == (6, 4)


def test_mistakes_in_building() -> None:
    for message, call in (
        ("Recurrent: takes a class of cells", lambda: nn.Recurrent([nn.Linear(2, 3)])),  # type: ignore[list-item]
        ("Recurrent: takes a class of cells", lambda: nn.Recurrent([Leaky(3, 4)], bidirectional=True)),
        ("Recurrent: input_size must be", lambda: nn.Recurrent(Leaky)),
        ("GRU: hidden_size must be", lambda: nn.GRU(3, [4, 0], 2)),
        ("GRU: hidden_size=.* has 2 widths for 3 layers", lambda: nn.GRU(3, [4, 5], 3)),
        ("LSTM: proj_size must be from 0 to below hidden_size=4", lambda: nn.LSTM(3, 4, proj_size=4)),
        ("LSTM: forget_bias=1.0 needs biases", lambda: nn.LSTM(3, 4, bias=False, forget_bias=1.0)),
        ("LSTM: zoneout is a probability", lambda: nn.LSTM(3, 4, zoneout=(0.1, 1.2))),
        ("LSTM: recurrent_dropout is a probability", lambda: nn.LSTM(3, 4, recurrent_dropout=-0.1)),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(NotImplementedError, match="Cell has no step"):
        nn.Recurrent(nn.Cell(3, 4))(tg.ones(2, 1, 3))
    with pytest.warns(UserWarning, match="GRU: dropout=0.5 acts between layers, and there is only one"):
        nn.GRU(3, 4, dropout=0.5)


# --- options ---


def test_forget_bias_and_orthogonal_recurrence() -> None:
    lstm = nn.LSTM(3, 4, 2, forget_bias=1.0, recurrent_init=nn.init.orthogonal_)
    for name, p in lstm.named_parameters():
        if "bias" in name:
            assert p[4:8].tolist() == [1.0 if "ih" in name else 0.0] * 4
        elif "hh" in name:
            for part in p.detach().chunk(4):
                np.testing.assert_allclose((part @ part.T).numpy(), np.eye(4), atol=1e-5)


def test_a_learned_state_is_where_sequences_begin() -> None:
    module = made("LSTM", num_layers=2, learned_state=True)
    assert [n for n, _ in module.named_parameters()][:4] == ["h_0_l0", "c_0_l0", "h_0_l1", "c_0_l1"]
    with tg.no_grad():
        module.c_0_l1.fill_(0.5)
    x = tg.randn(3, 2, 3, dtype=tg.float64)
    state = (tg.zeros(2, 2, 4, dtype=tg.float64), tg.tensor([[[0.0]], [[0.5]]]).double().expand(2, 2, 4))
    close(module(x)[0], module(x, state)[0])
    module(x)[0].sum().backward()
    assert all(p.grad is not None and p.grad.numpy().any() for p in module.parameters())


def test_recurrent_dropout_keeps_its_mask() -> None:
    """With every weight into the gates but the recurrent one zero, what drops is seen in the state."""
    rnn: Any = nn.RNN(1, 200, nonlinearity="relu", bias=False, recurrent_dropout=0.25)
    with tg.no_grad():
        rnn.weight_hh_l0.copy_(tg.eye(200))
        rnn.weight_ih_l0.zero_()
    output, _ = rnn(tg.zeros(3, 1, 1), tg.ones(1, 1, 200))
    dropped = output[0, 0] == 0
    assert 20 < int(dropped.sum()) < 80
    for t in range(3):  # the same ones at every step, the others scaled again and again
        np.testing.assert_allclose(
            output[t, 0].detach().numpy(), np.where(dropped.numpy(), 0, (4 / 3) ** (t + 1)), 1e-5
        )
    rnn.eval()
    np.testing.assert_array_equal(rnn(tg.zeros(3, 1, 1), tg.ones(1, 1, 200))[0].detach().numpy(), 1.0)


def test_variational_dropout_drops_the_same_at_every_step() -> None:
    module = nn.GRU(3, 40, 2, dropout=0.5, variational=True)
    seen: list[tg.Tensor] = []
    project = nn.GRUCell.project

    def looked(cell: Any, x: tg.Tensor) -> tg.Tensor:
        seen.append(x)
        return project(cell, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.GRUCell, "project", looked)
        module(tg.randn(6, 2, 3), lengths=[6, 4])
    below = seen[1].detach().numpy()  # packed: four steps of both, two of the first
    first, second = below[[0, 2, 4, 6, 8, 9]], below[[1, 3, 5, 7]]
    for rows in (first, second):
        assert ((rows == 0).all(0) | (rows != 0).all(0)).all()
    assert ((first[0] == 0) != (second[0] == 0)).any()


@pytest.mark.parametrize("lengths", [[2, 5, 0, 4], [5, 5, 1, 1]])
def test_what_is_dropped_does_not_depend_on_lengths(lengths: list[int]) -> None:
    """Each sequence has its own, also where processes share a batch."""
    module, x = made("LSTM", num_layers=2, dropout=0.5, variational=True, recurrent_dropout=0.3), tg.randn(5, 4, 3)
    runs = []
    for part, counts in ((slice(None), [5] * 4), (slice(None), lengths), (slice(1, 3), lengths[1:3])):
        tg.manual_seed(1)
        set_shard(*[BatchShard(1, 3, 4, 1)] * (part != slice(None)))
        try:
            runs.append(module(x[:, part].double(), lengths=counts)[0])
        finally:
            set_shard()
    for b, n in enumerate(lengths):
        close(runs[1][:n, b], runs[0][:n, b])
    close(runs[2], runs[1][:, 1:3])


def test_zoneout() -> None:
    module = nn.LSTM(3, 50, zoneout=(0.0, 0.5))
    x = tg.randn(1, 2, 3)
    state = (tg.zeros(1, 2, 50), tg.full((1, 2, 50), 9.0))
    _, (_, c) = module(x, state)
    kept = c.detach().numpy() == 9.0
    assert 20 < kept.sum() < 80
    module.eval()
    _, (_, expected) = module(x, state)
    module.zoneout = 0.0
    _, (_, plain) = module(x, state)
    close(expected, 0.5 * plain + 0.5 * 9.0)
    np.testing.assert_allclose(c.detach().numpy()[~kept], plain.detach().numpy()[~kept], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_and_states_can_be_pickled(kind: str) -> None:
    module, x = made(kind, num_layers=2), tg.randn(4, 2, 3, dtype=tg.float64)
    output, state = module(x)
    other, carried = pickle.loads(pickle.dumps((module, state.detach())))
    close(other(x)[0], output)
    assert type(carried) is type(state)
    close(other(x, carried)[0], module(x, state)[0])


def test_deep_copies_and_replaced_parameters_are_used() -> None:
    lstm = made("LSTM", num_layers=2)
    x = tg.randn(4, 2, 3, dtype=tg.float64)
    other = copy.deepcopy(lstm)
    with tg.no_grad():
        other.weight_hh_l1.zero_()
    assert abs(other(x)[0] - lstm(x)[0]).amax().item() > 1e-3
    lstm.weight_hh_l1 = nn.Parameter(tg.zeros(16, 4, dtype=tg.float64))
    close(lstm(x)[0], other(x)[0])
    lstm.float()
    assert lstm(x.float())[0].dtype == tg.float32


# --- cells beyond PyTorch's, against their equations written out ---


def sigma(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def normed(z: Any, gain: Any, shift: Any = 0.0) -> Any:
    return (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + 1e-5) * gain + shift


def random_cell(kind: str) -> tuple[Any, dict[str, Any], Any, Any, Any]:
    """A cell with random parameters, these, and an input with a state."""
    cell = getattr(nn, kind)(3, 4, dtype=tg.float64)
    for p in cell.parameters():
        p.data = tg.randn(p.shape, dtype=tg.float64)
    x, h, c = (tg.randn(2, n, dtype=tg.float64) for n in (3, 4, 4))
    return cell, {name: p.numpy() for name, p in cell.state_dict().items()}, x, h, c


def test_peephole_lstm_cell() -> None:
    cell, p, x, h, c = random_cell("PeepholeLSTMCell")
    z = x.numpy() @ p["weight_ih"].T + p["bias_ih"] + h.numpy() @ p["weight_hh"].T + p["bias_hh"]
    i, f, g, o = np.split(z, 4, -1)
    i, f = sigma(i + p["weight_ci"] * c.numpy()), sigma(f + p["weight_cf"] * c.numpy())
    new_c = f * c.numpy() + i * np.tanh(g)
    new_h = sigma(o + p["weight_co"] * new_c) * np.tanh(new_c)
    for ours, wanted in zip(cell(x, (h, c)), (new_h, new_c), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), wanted, atol=1e-12)


def test_layer_norm_lstm_cell() -> None:
    cell, p, x, h, c = random_cell("LayerNormLSTMCell")
    z = normed(x.numpy() @ p["weight_ih"].T, p["gain_ih"]) + normed(h.numpy() @ p["weight_hh"].T, p["gain_hh"])
    i, f, g, o = np.split(z + p["bias_ih"] + p["bias_hh"], 4, -1)
    new_c = sigma(f) * c.numpy() + sigma(i) * np.tanh(g)
    new_h = sigma(o) * np.tanh(normed(new_c, p["gain_c"], p["shift_c"]))
    for ours, wanted in zip(cell(x, (h, c)), (new_h, new_c), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), wanted, atol=1e-12)


def test_layer_norm_gru_and_rnn_cells() -> None:
    cell, p, x, h, _ = random_cell("LayerNormGRUCell")
    r, z, n = np.split(normed(x.numpy() @ p["weight_ih"].T, p["gain_ih"]) + p["bias_ih"], 3, -1)
    r_h, z_h, n_h = np.split(normed(h.numpy() @ p["weight_hh"].T, p["gain_hh"]) + p["bias_hh"], 3, -1)
    r, z = sigma(r + r_h), sigma(z + z_h)
    wanted = (1 - z) * np.tanh(n + r * n_h) + z * h.numpy()
    np.testing.assert_allclose(cell(x, h).detach().numpy(), wanted, atol=1e-12)
    cell, p, x, h, _ = random_cell("LayerNormRNNCell")
    summed = x.numpy() @ p["weight_ih"].T + p["bias_ih"] + h.numpy() @ p["weight_hh"].T + p["bias_hh"]
    wanted = np.tanh(normed(summed, p["gain"], p["shift"]))
    np.testing.assert_allclose(cell(x, h).detach().numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("kind", ["PeepholeLSTMCell", "LayerNormLSTMCell", "LayerNormGRUCell", "LayerNormRNNCell"])
def test_layers_of_the_variants(kind: str) -> None:
    options: dict[str, Any] = {"proj_size": 2} if "LSTM" in kind else {}
    module = nn.Recurrent(getattr(nn, kind), 3, 4, 2, bidirectional=True, dtype=tg.float64, **options)
    tg.gradcheck(lambda x: module(x, lengths=[3, 1])[0], tg.randn(3, 2, 3, dtype=tg.float64))
    assert all(name.startswith("cells.") for name in module.state_dict())
    getattr(nn, kind)(3, 4, bias=False)(tg.ones(2, 3))


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


@pytest.mark.parametrize("cell", sorted({*CELLS} - {"LRUCell"}))  # whose state has no part in all parameters
def test_a_cell_on_no_sequence(cell: str) -> None:
    module, x = getattr(nn, cell)(2, 3), tg.zeros(0, 2, requires_grad=True)
    made = module(x)
    h = made if isinstance(made, tg.Tensor) else made[0]
    assert h.shape == (0, 3)
    h.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == (0, 2)
    for p in module.parameters():
        assert p.grad is not None
        assert not p.grad.any()


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
