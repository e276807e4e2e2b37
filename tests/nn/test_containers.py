"""Lists and dictionaries of modules and parameters, names, walks, hooks: as PyTorch has them."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg


def build(lib: Any, tensor: Any) -> Any:
    """The same module of either library."""

    class Net(lib.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.cells = lib.ModuleDict({"gru": lib.GRU(2, 3), "lstm": lib.LSTM(2, 3)})
            self.heads = lib.ModuleDict([("a", lib.Linear(3, 2))])
            self.heads["b"] = lib.Linear(3, 1, bias=False)
            self.layers = lib.ModuleList([lib.Linear(2, 2)])
            self.layers.extend([lib.Tanh(), lib.Linear(2, 3)])
            self.layers.insert(0, lib.Identity())
            self.layers += [lib.Linear(3, 3)]
            self.named = lib.Sequential(OrderedDict([("first", lib.Linear(3, 3)), ("second", lib.ReLU())]))
            self.named.add_module("third", lib.Linear(3, 1))
            self.scales = lib.ParameterList([lib.Parameter(tensor([1.0, 2.0])), tensor([3.0])])
            self.scales.append(lib.Parameter(tensor([4.0])))
            self.table = lib.ParameterDict({"x": lib.Parameter(tensor([1.0]))})
            self.table["y"] = lib.Parameter(tensor([[2.0]]))
            self.tied = self.layers[1]
            self.register_parameter("extra", lib.Parameter(tensor([0.5])))
            self.register_parameter("nothing", None)
            self.add_module("late", lib.Linear(1, 1))
            self.register_module("none", None)
            self.register_buffer("mean", tensor([0.0]))

    return Net()


def test_names_and_walks_are_pytorchs() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    ours, theirs = build(nn, tg.tensor), build(torch.nn, torch.tensor)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert list(ours.state_dict(prefix="m.")) == list(theirs.state_dict(prefix="m."))
    walks: list[Any] = [
        lambda m: m.named_parameters(),
        lambda m: m.named_parameters(prefix="net", recurse=False),
        lambda m: m.named_parameters(remove_duplicate=False),
        lambda m: m.named_buffers(prefix="net"),
        lambda m: m.named_modules(),
        lambda m: m.named_modules(prefix="net", remove_duplicate=False),
        lambda m: m.named_children(),
        lambda m: m.layers[1:].named_parameters(),
        lambda m: m.layers[-1:].named_parameters(),
        lambda m: m.named[1:].named_parameters(),
        lambda m: (m.layers + [m.late]).named_parameters(),
        lambda m: [(name, None) for name in m.cells],
        lambda m: m.heads.items(),
        lambda m: m.table.items(),
    ]
    for walk in walks:
        assert [name for name, _ in walk(ours)] == [name for name, _ in walk(theirs)]
    for count in (
        lambda m: m.parameters(),
        lambda m: m.parameters(recurse=False),
        lambda m: m.modules(),
        lambda m: m.children(),
        lambda m: m.buffers(),
        lambda m: m.scales,
        lambda m: m.named,
        lambda m: m.heads.values(),
        lambda m: m.table.keys(),
    ):
        assert len(list(count(ours))) == len(list(count(theirs)))
    ours.load_state_dict(theirs.state_dict())
    for name, value in ours.state_dict().items():
        assert value.tolist() == theirs.state_dict()[name].tolist()
    assert ours.nothing is None
    assert ours.none is None


def test_by_dotted_name() -> None:
    net = build(nn, tg.tensor)
    assert net.get_submodule("cells.gru") is net.cells["gru"]
    assert net.get_submodule("") is net
    assert net.get_parameter("tied.weight") is net.layers[1].weight
    assert net.get_buffer("mean") is net.mean
    for call, words in (
        (lambda: net.get_submodule("cells.rnn"), r"no module 'cells.rnn': ModuleDict has \['gru', 'lstm'\]"),
        (lambda: net.get_parameter("late"), r"get_parameter: Net has no 'late'; it has \["),
        (lambda: net.get_buffer("x"), "get_buffer: Net has no 'x'"),
    ):
        with pytest.raises(AttributeError, match=words):
            call()


def test_lists_are_lists() -> None:
    a, b, c = (nn.Linear(n, 1) for n in (1, 2, 3))
    layers = nn.ModuleList([a, b])
    layers.insert(1, c)
    assert list(layers) == [a, c, b]
    assert [name for name, _ in layers.named_children()] == ["0", "1", "2"]
    assert layers.pop() is b
    assert layers[-1] is c
    layers[0] = b
    assert b in layers
    assert a not in layers
    del layers[0]
    assert list(layers) == [c]
    assert [name for name, _ in layers.named_parameters()] == ["0.weight", "0.bias"]
    assert len(nn.ModuleList([a, a])) == 2
    assert list(nn.Sequential(a, b, c)[1:].state_dict()) == ["1.weight", "1.bias", "2.weight", "2.bias"]
    named = nn.Sequential(OrderedDict(x=nn.Linear(1, 2), y=nn.Linear(2, 1)))
    named[-1] = nn.Linear(2, 5)
    assert named(tg.ones(1)).shape == (5,)
    assert named.y.out_features == 5  # type: ignore[attr-defined]
    parameters = nn.ParameterList([tg.ones(2)])
    assert isinstance(parameters[0], nn.Parameter)
    assert repr(parameters) == "ParameterList((0): Parameter of shape (2,))"


def test_dictionaries_are_dictionaries() -> None:
    a, b = nn.Linear(1, 1), nn.Linear(2, 1)
    d = nn.ModuleDict({"a": a})
    d.update({"b": b})
    assert "b" in d
    assert "c" not in d
    assert d.pop("a") is a
    assert list(d.items()) == [("b", b)]
    del d["b"]
    assert len(d) == 0
    d["a"] = a
    d["a"] = b
    d.clear()
    assert list(d.keys()) == []
    assert nn.ParameterDict({"x": tg.ones(1)})["x"].requires_grad
    copied = copy.deepcopy(nn.ModuleDict({"a": a}))
    assert copied["a"] is not a


def any_module() -> Any:
    return nn.Tanh()


@pytest.mark.parametrize(
    ("kind", "message", "call"),
    [
        (TypeError, "ModuleList: takes modules, got function", lambda: nn.ModuleList([tg.sum])),
        (TypeError, "ModuleList: takes a list, got a Tanh", lambda: nn.ModuleList(any_module())),
        (IndexError, "ModuleList: index 1 is out of range; there are 1", lambda: nn.ModuleList([nn.Tanh()])[1]),
        (TypeError, "Sequential: takes modules, got list", lambda: nn.Sequential([nn.Tanh()])),
        (TypeError, "ModuleDict: takes modules, got int", lambda: nn.ModuleDict({"a": 1})),
        (TypeError, "ModuleDict: takes a dictionary", lambda: nn.ModuleDict(3)),
        (KeyError, "ModuleDict: .* has an attribute 'keys' already", lambda: nn.ModuleDict({"keys": nn.Tanh()})),
        (KeyError, "ModuleDict: there is no 'a'; it has ", lambda: nn.ModuleDict()["a"]),
        (KeyError, "ModuleDict: a name .* has no dots", lambda: nn.ModuleDict({"a.b": nn.Tanh()})),
        (TypeError, "ParameterList: takes parameters and tensors, got float", lambda: nn.ParameterList([1.0])),
        (TypeError, "ParameterDict: takes a name, got a int", lambda: nn.ParameterDict({1: tg.ones(1)})),
        (TypeError, "register_parameter: takes a Parameter", lambda: any_module().register_parameter("w", tg.ones(1))),
        (KeyError, "register_parameter: .*'train' already", lambda: any_module().register_parameter("train", None)),
        (TypeError, "add_module: takes a Module", lambda: any_module().add_module("w", tg.ones(1))),
        (KeyError, "register_buffer: .*'apply' already", lambda: any_module().register_buffer("apply", tg.ones(1))),
        (TypeError, "register_buffer: takes a tensor", lambda: any_module().register_buffer("b", 1.0)),
        (TypeError, "load_state_dict: takes a mapping", lambda: any_module().load_state_dict([1])),
        (TypeError, "register_forward_hook: takes a function", lambda: any_module().register_forward_hook(1)),
        (TypeError, "register_forward_pre_hook: takes", lambda: any_module().register_forward_pre_hook(1)),
    ],
)
def test_mistakes(kind: type[Exception], message: str, call: Any) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_an_update_that_fails_changes_nothing() -> None:
    d = nn.ModuleDict({"a": nn.Tanh()})
    with pytest.raises(TypeError):
        d.update({"b": nn.Tanh(), "c": 1})
    assert list(d) == ["a"]


def test_loading_never_leaves_a_module_half_changed() -> None:
    net: Any = nn.Linear(2, 2)
    net.register_buffer("steps", tg.tensor([0]))
    net.register_buffer("spread", tg.ones(1).expand(3))
    before = {name: value.tolist() for name, value in net.state_dict().items()}
    good = {name: tg.ones(value.shape) for name, value in net.state_dict().items()}
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(good)
    assert "steps: has float32 there, which does not fit the int64 here" in str(caught.value)
    assert "spread: is in read-only memory here" in str(caught.value)
    assert {name: value.tolist() for name, value in net.state_dict().items()} == before
    wrongs: list[Any] = ["text", None, {}]
    for wrong in wrongs:
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            net.load_state_dict(good | {"bias": wrong})
        assert net.weight.tolist() == before["weight"]
    net.spread = tg.ones(3)
    net.load_state_dict(good | {"steps": tg.tensor([7]), "weight": tg.ones(2, 2, dtype=tg.float64)})
    assert net.steps.item() == 7
    assert net.weight.dtype == tg.float32


def run_hooks(lib: Any, lab: Any) -> list[Any]:
    """What hooks see and change, in either library."""
    seen: list[Any] = []
    net = lib.Sequential(lib.Tanh(), lib.Identity())
    x = lab.tensor([1.0, 2.0])
    first = net.register_forward_hook(lambda m, args, out: seen.append((m is net, len(args), out.tolist())))
    second = net[0].register_forward_hook(lambda m, args, out: out * 2)
    net[0].register_forward_hook(lambda m, args, out: out + 1, prepend=True)
    net[1].register_forward_pre_hook(lambda m, args: args[0] + 10)
    net[1].register_forward_pre_hook(lambda m, args: (args[0] + 1,))
    seen.append(net(x).tolist())
    second.remove()
    second.remove()
    seen.append(net(x).tolist())
    first.remove()
    seen.append(net(x).tolist())

    class Scale(lib.Module):  # type: ignore[misc]
        def forward(self, x: Any, by: float = 1.0) -> Any:
            return x * by

    scale = Scale()
    scale.register_forward_pre_hook(lambda m, args, kwargs: (args, {"by": kwargs["by"] * 2}), with_kwargs=True)
    with scale.register_forward_hook(lambda m, args, kwargs, out: out + kwargs["by"], with_kwargs=True):
        seen.append(scale(x, by=3.0).tolist())
    seen.append(scale(x, by=3.0).tolist())
    return seen


def test_forward_hooks() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    ours, theirs = run_hooks(nn, tg), run_hooks(torch.nn, torch)
    for a, b in zip(ours, theirs, strict=True):
        assert repr(a)[:5] == repr(b)[:5]
        np.testing.assert_allclose(np.hstack([np.ravel(p) for p in a]), np.hstack([np.ravel(p) for p in b]), rtol=1e-6)


def test_a_hook_gets_gradients_and_must_return_what_it_may() -> None:
    layer = nn.Linear(2, 2)
    kept: list[tg.Tensor] = []
    layer.register_forward_hook(lambda m, args, out: kept.append(out.retain_grad() or out))
    layer(tg.ones(1, 2)).sum().backward()
    assert kept[0].grad is not None
    assert kept[0].grad.tolist() == [[1, 1]]
    layer.register_forward_pre_hook(lambda m, args, kwargs: args, with_kwargs=True)
    with pytest.raises(TypeError, match=r"register_forward_pre_hook: .*None or \(args, kwargs\)"):
        layer(tg.ones(1, 2))


def test_switches() -> None:
    net = build(nn, tg.tensor)
    net.type(tg.float64).to("cpu", non_blocking=True)
    assert {p.dtype for p in net.parameters()} == {tg.float64}
    x = tg.tensor([-1.0, 1.0])
    assert nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(0.0, inplace=True))(x).tolist() == [0, 1]
    assert x.tolist() == [-1, 1]
    net.half()
    assert {p.dtype for p in net.parameters()} == {tg.float16}
    net.float()
    (net.extra * 2).sum().backward()
    net.zero_grad(set_to_none=False)
    assert net.extra.grad.tolist() == [0]
    assert net.late.weight.grad is None
    net.zero_grad()
    assert net.extra.grad is None
