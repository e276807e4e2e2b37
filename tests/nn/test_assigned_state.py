"""`state_dict(keep_vars=True)` and `load_state_dict(assign=True)`: the module's own tensors out, the given ones in."""

import pytest

import nn
import tinygrad_seq as tg


def test_keep_vars_gives_the_tensors_themselves() -> None:
    layer = nn.BatchNorm1d(2)
    kept = layer.state_dict(keep_vars=True, prefix="a.")
    assert kept["a.weight"] is layer.weight
    assert kept["a.running_mean"] is layer.running_mean
    assert list(kept) == ["a.weight", "a.bias", "a.running_mean", "a.running_var", "a.num_batches_tracked"]


def test_parameters_come_before_buffers() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", tg.ones(1))
            self.layer = nn.Linear(1, 1, bias=False)
            self.scale = nn.Parameter(tg.ones(1))

    assert list(Net().state_dict()) == ["scale", "mask", "layer.weight"]


def test_assign_takes_the_tensors_and_their_dtype() -> None:
    net = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    net[0].bias.requires_grad_(False)
    given = {name: value.double() if value.is_floating_point() else value for name, value in net.state_dict().items()}
    given["0.weight"] = own = nn.Parameter(tg.ones(1, 2, dtype=tg.float64))
    net.load_state_dict(given, assign=True)
    assert net[0].weight is own
    assert isinstance(net[0].bias, nn.Parameter)
    assert not net[0].bias.requires_grad
    assert net[1].running_mean is given["1.running_mean"]
    assert net(tg.ones(3, 2, dtype=tg.float64)).dtype == tg.float64
    given["0.bias"].fill_(7.0)
    assert net[0].bias.tolist() == [7.0], "it has the memory of what was given"


def test_assign_refuses_before_anything_changes() -> None:
    net = nn.Linear(2, 1)
    weight = net.weight
    for bad in (tg.ones(2, 2), tg.ones(1, 2, dtype=tg.int64)):
        with pytest.raises(RuntimeError, match=r"weight: has (shape|int64)"):
            net.load_state_dict({"bias": tg.zeros(1), "weight": bad}, assign=True)
    assert net.weight is weight
    assert net.load_state_dict({"weight": tg.ones(1, 2)}, strict=False, assign=True).missing_keys == ["bias"]
