"""`nn.functional_call`: a module as a function of its parameters, and where that meets other things."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg


class Net(nn.Module):
    """A recurrent layer and a head; with `again`, the recurrent layer is computed again in the backward pass."""

    def __init__(self, again: bool, make: Callable[[], nn.Module]) -> None:
        self.again, self.layer, self.head = again, make(), nn.Linear(4, 1)

    def forward(self, x: Any) -> Any:
        def run(x: Any) -> Any:
            y = self.layer(x)
            return y[0] if isinstance(y, tuple) else y

        return self.head(tg.checkpoint(run, x) if self.again else run(x))


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "Linear": lambda: nn.Linear(3, 4),
    "RNN": lambda: nn.RNN(3, 4),
    "LSTM": lambda: nn.LSTM(3, 4, 2),
    "GRU": lambda: nn.GRU(3, 2, bidirectional=True),
    "Recurrent": lambda: nn.Recurrent(nn.LayerNormLSTMCell, 3, 4),
    "Sequential": lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)),
}


def net_of(name: str) -> tuple[Net, dict[str, tg.Tensor], tg.Tensor]:
    tg.manual_seed(3)
    net = Net(True, MAKERS[name]).double()
    other = Net(False, MAKERS[name]).double()  # so that its own parameters would give something else
    parameters = {n: p.detach() for n, p in other.named_parameters()}
    return net, parameters, tg.randn(5, 2, 3, dtype=tg.float64)


def loss_of(net: Net, x: Any) -> Callable[[Any], tg.Tensor]:
    return lambda parameters: (nn.functional_call(net, parameters, x) ** 2).sum()


def gradients(net: Net, parameters: Any, x: Any) -> Any:
    return tg.grad(loss_of(net, x))(parameters)


def hessian_products(net: Net, parameters: Any, x: Any) -> Any:
    names = list(parameters)
    loss = loss_of(net, x)
    values = [parameters[n] for n in names]
    return tg.grad(lambda p: sum((g * g).sum() for g in tg.grad(loss)(p).values()))(
        dict(zip(names, values, strict=True))
    )


def per_sample(net: Net, parameters: Any, x: Any) -> Any:
    def loss(parameters: Any, x: Any) -> Any:
        return (nn.functional_call(net, parameters, x) ** 2).sum()

    return tg.vmap(tg.grad(loss), in_dims=(None, 1))(parameters, x)


def backward(net: Net, parameters: Any, x: Any) -> Any:
    leaves = {n: p.clone().requires_grad_() for n, p in parameters.items()}
    loss_of(net, x)(leaves).backward()
    assert all(p.grad is None for p in net.parameters()), "the module's own are not touched"
    return {n: p.grad for n, p in leaves.items()}


def products(net: Net, parameters: Any, x: Any) -> Any:
    loss, name = loss_of(net, x), "head.weight"

    def of_one(weight: Any) -> Any:
        return loss({**parameters, name: weight})

    value, slope = tg.jvp(of_one, (parameters[name],), (tg.ones_like(parameters[name]),))
    return {
        "value": value,
        "slope": slope,
        "hvp": tg.hvp(of_one, (parameters[name],), (tg.ones_like(parameters[name]),))[1][0],
    }


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("derivative", [gradients, hessian_products, per_sample, backward, products])
def test_a_checkpoint_inside_sees_the_replacements(name: str, derivative: Callable[..., Any]) -> None:
    net, parameters, x = net_of(name)
    own = dict(net.named_parameters())
    found = derivative(net, parameters, x)
    net.again = False
    expected = derivative(net, parameters, x)
    assert found.keys() == expected.keys()
    for key, value in found.items():
        np.testing.assert_allclose(value.detach().numpy(), expected[key].detach().numpy(), rtol=1e-10, atol=1e-12)
    assert any(np.abs(value.detach().numpy()).max() > 1e-6 for value in found.values())
    assert all(p is own[n] for n, p in net.named_parameters())


def test_a_parameter_put_there_in_between_is_refused() -> None:
    net, parameters, x = net_of("Linear")
    some = {n: p for n, p in parameters.items() if n != "layer.bias"}
    loss = loss_of(net, x)({n: p.requires_grad_() for n, p in some.items()})
    net.layer.bias = nn.Parameter(tg.zeros(4, dtype=tg.float64))
    with pytest.raises(RuntimeError, match="checkpoint: computing again used other tensors"):
        loss.backward()


def test_what_is_replaced_may_be_another_parameter_by_then() -> None:
    net, parameters, x = net_of("Linear")
    expected = gradients(net, parameters, x)
    leaves = {n: p.clone().requires_grad_() for n, p in parameters.items()}
    loss = loss_of(net, x)(leaves)
    new = net.layer.weight = nn.Parameter(tg.zeros(4, 3, dtype=tg.float64))
    loss.backward()
    for n, p in leaves.items():
        assert p.grad is not None
        np.testing.assert_array_equal(p.grad.numpy(), expected[n].numpy())
    assert net.layer.weight is new  # type: ignore[attr-defined]


class Tied(nn.Module):
    def __init__(self) -> None:
        self.first, self.second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x))


def test_tied_weights() -> None:
    module, x, w = Tied(), tg.ones(1, 2), tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    for given in ({"first.weight": w}, {"second.weight": w}, {"first.weight": w, "second.weight": w}):
        assert nn.functional_call(module, given, x).tolist() == [[17.0, 37.0]]
    assert nn.functional_call(module, module.state_dict(), x).tolist() == module(x).tolist()
    weight = module.first.weight
    with pytest.raises(ValueError, match=r"\['first.weight', 'second.weight'\] are names of one tensor of Tied"):
        nn.functional_call(module, {"first.weight": w, "second.weight": w * 1}, x)
    assert module.first.weight is module.second.weight is weight


def test_tied_weights_in_torch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")

    class Theirs(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2, bias=False)
            self.second.weight = self.first.weight

        def forward(self, x: Any) -> Any:
            return self.second(self.first(x))

    module, x, w = Theirs(), torch.ones(1, 2), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    for given in ({"first.weight": w}, {"second.weight": w}, {"first.weight": w, "second.weight": w}):
        assert torch.func.functional_call(module, given, x).tolist() == [[17.0, 37.0]]
    with pytest.raises(ValueError, match="multiple values"):
        torch.func.functional_call(module, {"first.weight": w, "second.weight": w * 1}, x)


def test_calls_within_calls() -> None:
    inner = nn.Linear(2, 2)
    z, w = tg.zeros(2), tg.ones(2, 2)

    class Outer(nn.Module):
        def __init__(self) -> None:
            self.inner, self.scale = inner, nn.Parameter(tg.ones(2))

        def forward(self, x: Any, given: Any) -> Any:
            assert inner.bias is z
            return nn.functional_call(self, given, (x,), {}) if given is not None else self.inner(x) * self.scale

    class Once(Outer):
        def forward(self, x: Any, given: Any = None) -> Any:
            return super().forward(x, given)

    module = Once()
    before = {name: id(p) for name, p in module.named_parameters()}
    # one tensor for two names does not tie them: the inner call replaces one of them
    found = nn.functional_call(module, {"inner.bias": z, "scale": z}, (tg.ones(2), {"inner.weight": w, "scale": w[0]}))
    assert found.tolist() == [2.0, 2.0]
    assert {name: id(p) for name, p in module.named_parameters()} == before


def test_after_an_error_all_is_as_it_was() -> None:
    class Failing(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(2, 2)
            self.register_buffer("mean", tg.zeros(2))

        def forward(self, x: Any) -> Any:
            del self.layer.bias
            raise ZeroDivisionError

    module = Failing()
    held = {name: id(value) for name, value in (*module.named_parameters(), *module.named_buffers())}
    with pytest.raises(ZeroDivisionError):
        nn.functional_call(module, {"layer.bias": tg.ones(2), "mean": tg.ones(2)}, tg.ones(1, 2))
    assert {n: id(value) for n, value in (*module.named_parameters(), *module.named_buffers())} == held


def test_threads_do_not_mix() -> None:
    barrier = threading.Barrier(2, timeout=0.5)

    class Slow(nn.Module):
        def __init__(self) -> None:
            self.weight = nn.Parameter(tg.zeros(1))

        def forward(self, x: Any) -> Any:
            before = self.weight * x
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait()  # the other thread is inside, too, if nothing keeps it out
            return before + self.weight * x

    module, found = Slow(), {}
    own = module.weight

    def call(i: float) -> None:
        found[i] = nn.functional_call(module, {"weight": tg.full((1,), i)}, tg.ones(1)).item()

    threads = [threading.Thread(target=call, args=(float(i),)) for i in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {1.0: 2.0, 2.0: 4.0}
    assert module.weight is own


def test_several_mappings() -> None:
    module = nn.Linear(1, 1)
    parameters = ({"weight": tg.full((1, 1), 2.0)}, {"bias": tg.ones(1)})
    assert nn.functional_call(module, parameters, tg.ones(1)).tolist() == [3.0]


def test_mistakes_are_explained() -> None:
    module, x = nn.Linear(1, 1), tg.ones(1)
    w = tg.ones(1, 1)
    with pytest.raises(KeyError, match=r"Linear has no \['w'\]; it has \['bias', 'weight'\]"):
        nn.functional_call(module, {"w": w}, x)
    with pytest.raises(TypeError, match="'weight' takes a tensor, got a float"):
        nn.functional_call(module, {"weight": 1.0}, x)  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=r"got \['weight'\] in several mappings"):
        nn.functional_call(module, ({"weight": w}, {"weight": w}), x)
    with pytest.raises(TypeError, match="takes a mapping of names to tensors, got a list"):
        nn.functional_call(module, [[w]], x)  # type: ignore[list-item]
