"""What the recurrent layers promise beyond PyTorch's: states, options, cells of one's own."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from tinygrad_seq.graph.batch_shard import BatchShard, set_shard

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
