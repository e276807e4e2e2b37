"""What may be assigned to a module's attributes: a parameter, a module and a buffer stay one."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import nn
import tinygrad_seq as tg

HELD = ["parameter", "no parameter", "module", "no module", "buffer", "no buffer", "plain"]
GIVEN = ["parameter", "module", "tensor", "none", "number"]
REFUSED = {  # where PyTorch raises a TypeError
    "parameter": {"module", "tensor", "number"},
    "module": {"tensor", "number"},
    "buffer": {"number"},
    "plain": set(),
}


def holder(library: Any, tensor: Callable[..., Any], held: str) -> Any:
    module = library.Module()
    if held == "plain":
        module.x = 3
    elif "parameter" in held:
        module.register_parameter("x", None if held.startswith("no") else library.Parameter(tensor([1.0])))
    elif "module" in held:
        module.add_module("x", None if held.startswith("no") else library.Linear(2, 2))
    else:
        module.register_buffer("x", None if held.startswith("no") else tensor([1.0]))
    module.last = library.Parameter(tensor([1.0]))
    return module


def outcome(library: Any, tensor: Callable[..., Any], held: str, given: str) -> Any:
    """The names of what is registered after an assignment, or that it was refused and nothing changed."""
    module = holder(library, tensor, held)
    values = {
        "parameter": library.Parameter(tensor([2.0])),
        "module": library.Linear(1, 1),
        "tensor": tensor([2.0]),
        "none": None,
        "number": 3.0,
    }
    before = module.x
    try:
        module.x = values[given]
    except TypeError as error:
        assert module.x is before
        return "refused", str(error)
    assert module.x is values[given]
    return (
        sorted([name for name, _ in module.named_parameters()]),
        [name for name, _ in module.named_buffers()],
        [name for name, _ in module.named_children()],
    )


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("given", GIVEN)
def test_what_may_stand_under_a_name(held: str, given: str) -> None:
    found = outcome(nn, tg.tensor, held, given)
    kind = held.split()[-1]
    if given in REFUSED[kind]:
        assert found[0] == "refused"
        assert found[1].startswith(f"Module.x is a {kind}: takes a")
        assert "or None, got a " in found[1]
        return
    inner = ["x.bias", "x.weight"] if given == "module" else ["x"] if given == "parameter" else []
    buffers = ["x"] if given == "tensor" and "buffer" in held else []
    assert found == (["last", *inner], buffers, ["x"] if given == "module" else [])


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("given", GIVEN)
def test_the_same_in_torch(held: str, given: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    ours, theirs = outcome(nn, tg.tensor, held, given), outcome(torch.nn, torch.tensor, held, given)
    assert (ours[0] == "refused") == (theirs[0] == "refused")
    if ours[0] != "refused":
        assert ours == theirs


def parameters_of_layers() -> list[tuple[Any, str]]:
    layers = [nn.Linear(2, 3), nn.Embedding(3, 2), nn.LSTM(2, 3), nn.GRU(2, 3, bidirectional=True), nn.RNNCell(2, 3)]
    layers += [nn.LayerNorm(3), nn.Recurrent(nn.PeepholeLSTMCell, 2, 3), nn.ParameterList([tg.ones(2)])]
    layers += [
        nn.Sequential(nn.Linear(2, 2)),
        nn.ParameterDict({"w": tg.ones(2)}),
        nn.ModuleDict({"a": nn.Linear(1, 1)}),
    ]
    return [(layer, name) for layer in layers for name, _ in layer.named_parameters()]


@pytest.mark.parametrize(("layer", "name"), parameters_of_layers(), ids=lambda x: getattr(type(x), "__name__", x))
@pytest.mark.parametrize("other", [lambda m: m, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_no_parameter_is_taken_away_by_a_tensor(layer: Any, name: str, other: Callable[[Any], Any]) -> None:
    layer = other(layer)
    path, _, last = name.rpartition(".")
    owner = layer.get_submodule(path)
    before = dict(layer.named_parameters())
    for value in (before[name].detach(), before[name] * 2, 0.5, nn.Linear(1, 1)):
        with pytest.raises(TypeError, match=r"is a parameter: takes a Parameter or None.*nn\.Parameter\(tensor\)"):
            setattr(owner, last, value)
    assert dict(layer.named_parameters()) == before
    new = nn.Parameter(before[name].detach().clone())
    setattr(owner, last, new)
    assert [n for n, _ in layer.named_parameters()] == list(before), "at its place"
    assert layer.get_parameter(name) is new
    setattr(owner, last, None)
    assert name not in dict(layer.named_parameters())
    with pytest.raises(TypeError, match="is a parameter"):
        setattr(owner, last, tg.ones(2))
    copied = other(layer)
    with pytest.raises(TypeError, match="is a parameter"):
        setattr(copied.get_submodule(path), last, tg.ones(2))
    setattr(owner, last, new)
    assert [n for n, _ in layer.named_parameters()] == list(before)


def test_a_deleted_name_is_free() -> None:
    module = nn.Linear(2, 2)
    module.register_buffer("mean", tg.zeros(2))
    for name in ("weight", "mean"):
        delattr(module, name)
        setattr(module, name, 3.0)
        assert getattr(module, name) == 3.0
    module.bias = None
    del module.bias
    module.bias = tg.ones(2)  # type: ignore[assignment]
    assert list(module.named_parameters()) == []
    assert list(module.named_buffers()) == []
    with pytest.raises(AttributeError):
        del module.nothing  # type: ignore[attr-defined]


@pytest.mark.parametrize("held", ["parameter", "module", "buffer"])
@pytest.mark.parametrize("absent", ["", "no "])
def test_a_name_is_registered_as_one_thing(held: str, absent: str) -> None:
    module = holder(nn, tg.tensor, absent + held)
    calls: dict[str, Callable[[], None]] = {
        "parameter": lambda: module.register_parameter("x", nn.Parameter(tg.ones(1))),
        "module": lambda: module.add_module("x", nn.Linear(1, 1)),
        "buffer": lambda: module.register_buffer("x", tg.ones(1)),
    }
    calls.pop(held)()
    for call in calls.values():
        with pytest.raises(KeyError, match="has an attribute 'x' already"):
            call()


def test_a_checkpoint_undoes_assignments() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            self.inner, self.calls, self.seen = nn.Linear(2, 2), 0, None

        def forward(self, x: Any) -> Any:
            self.calls += 1
            self.seen = x.detach() * self.calls
            return self.inner(x) * self.calls

    module, x = Counting(), tg.ones(3, 2, requires_grad=True)
    y = tg.checkpoint(module, x)
    seen = module.seen
    y.sum().backward()
    assert module.calls == 1
    assert module.seen is seen


def test_compiled_modules_keep_their_parameters() -> None:
    model: Any = nn.Linear(2, 2)
    compiled = tg.compile(model)
    compiled(tg.ones(1, 2))
    with pytest.raises(TypeError, match="is a parameter"):
        compiled.weight = tg.ones(2, 2)
    compiled.weight = nn.Parameter(tg.zeros(2, 2))
    assert compiled(tg.ones(1, 2)).tolist() == [model.bias.tolist()]
