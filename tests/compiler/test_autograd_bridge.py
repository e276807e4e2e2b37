"""A compiled function's result in front of `backward`: gradients go where they go without compiling."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
import nn.functional as F
import tinygrad_seq as tg
from nn import optim

from ..engine.op_cases import DIFFERENTIABLE
from .test_agreement import PRIMITIVES, STEPS, both, stepped


def close(*pair: Any, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    """Tensors, or containers of them, agree; where one has no gradient, neither has the other."""
    a, b = pair
    if isinstance(a, (list, tuple)):
        for x, y in zip(a, b, strict=True):
            close(x, y, rtol=rtol, atol=atol)
    elif a is None or b is None:
        assert a is b
    else:
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=rtol, atol=atol)


def variable(*shape: int, seed: int = 0, dtype: Any = tg.float64) -> tg.Tensor:
    return tg.randn(*shape, generator=tg.Generator(seed), dtype=dtype).requires_grad_()


# --- agreement ---


@pytest.mark.parametrize("name", sorted(DIFFERENTIABLE))
@both
@given(data=st.data())
def test_every_primitive(name: str, executor: str, data: st.DataObject) -> None:
    call = data.draw(DIFFERENTIABLE[name])
    f = lambda *tensors: PRIMITIVES[name](*tensors, **call.params)  # noqa: E731
    compiled = tg.compile(f, executor=executor)
    arrays = call.arrays
    for _ in range(2):
        found = []
        for run in (f, compiled):
            tensors = [tg.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
            y = run(*tensors)
            parts = y if isinstance(y, tuple) else (y,)
            wanted = [p for p in parts if p.requires_grad]
            if wanted:
                sum([(p * p).sum() for p in wanted], start=tg.tensor(0.0, dtype=wanted[0].dtype)).backward()
            found.append([*parts, *[t.grad for t in tensors if t.requires_grad]])
        close(*found, rtol=1e-5, atol=1e-6)
        arrays = [a * 0.5 if a.dtype.kind == "f" else a for a in arrays]


@both
@given(
    seed=st.integers(0, 2**16),
    steps=st.lists(
        st.tuples(st.sampled_from([*STEPS, "detach"]), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=25
    ),
    used=st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_random_programs(executor: str, seed: int, steps: list[tuple[str, int, int]], used: list[bool]) -> None:
    """Shared parts, dead ends, views, products, results that are not used, a captured parameter and arguments."""
    rng = np.random.default_rng(seed)
    captured = tg.tensor(rng.standard_normal((3, 3)), requires_grad=True)

    def f(x: tg.Tensor, w: tg.Tensor) -> Any:
        made = [x, w, captured, x * 0.5]
        for op, i, j in steps:
            a, b = made[i % len(made)], made[j % len(made)]
            made.append(a.detach() * b if op == "detach" else stepped(op, a, b, captured))
        return tuple(made[-3:])

    compiled = tg.compile(f, executor=executor)
    for _ in range(2):
        numbers, found = [rng.standard_normal((3, 3)) for _ in range(2)], []
        for run in (f, compiled):
            args = [tg.tensor(n, requires_grad=True) for n in numbers]
            captured.grad = None
            results = run(*args)
            wanted = [y for y, use in zip(results, used, strict=True) if use and y.requires_grad]
            if wanted:
                sum([(y * y).mean() for y in wanted], start=tg.tensor(0.0, dtype=tg.float64)).backward()
            found.append([*results, captured.grad, *[x.grad for x in args]])
        one, other = [[tg.zeros(3, 3).double() if g is None else g for g in some] for some in found]
        close(one, other, rtol=1e-8, atol=1e-9)


class LanguageModel(nn.Module):
    def __init__(self, kind: Any, **settings: Any) -> None:
        self.table = nn.Embedding(7, 6)
        self.rnn = kind(6, 5, **settings)
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(5, 7)

    def forward(self, tokens: tg.Tensor, state: Any = None) -> Any:
        y, state = self.rnn(self.table(tokens), state)
        return self.out(self.drop(y)), state


def trained(kind: Any, compiled: bool, executor: str, dtype: Any, **settings: Any) -> list[Any]:
    """Truncated backpropagation over a stream, as one writes it with PyTorch; then an evaluation."""
    tg.manual_seed(1)
    model: Any = LanguageModel(kind, **settings).to(dtype)
    tokens = tg.randint(7, (17, 3), generator=tg.Generator(2))
    if compiled:
        model = tg.compile(model, executor=executor)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    state: Any = None
    seen: list[Any] = []
    for epoch in range(2):
        model.train()
        for start in range(0, 16, 4):
            x, y = tokens[start : start + 4], tokens[start + 1 : start + 5]
            optimizer.zero_grad()
            logits, state = model(x, state)
            loss = criterion(logits.reshape(-1, 7), y.reshape(-1))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            state = state.detach()
            seen.append(loss.detach())
        model.eval()
        with tg.no_grad():
            seen.append(model(tokens[:4])[0])
        state = None if epoch else state
    seen += [p.detach() for p in model.parameters()] + [p.grad for p in model.parameters()]
    if compiled:
        assert len(model.programs) == 3  # without a state, with one, evaluating
    return [*seen, tg.rand(2)]


@both
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_training_loop_as_one_writes_it(kind: Any, executor: str) -> None:
    settings = {"num_layers": 2, "dropout": 0.3}
    close(*[trained(kind, c, executor, tg.float64, **settings) for c in (False, True)], rtol=1e-8, atol=1e-10)


def test_in_single_precision() -> None:
    close(*[trained(nn.LSTM, c, "numpy", tg.float32) for c in (False, True)], rtol=1e-3, atol=1e-4)


def test_gradients_are_checked_against_differences() -> None:
    lstm = nn.LSTM(2, 3, num_layers=2).double()
    compiled: Any = tg.compile(lstm)
    assert tg.gradcheck(lambda x: compiled(x)[0], (variable(4, 2, 2),))
    assert tg.gradcheck(tg.compile(nn.GRU(2, 3).double()), (variable(4, 2, 2),))
    assert tg.gradcheck(tg.compile(lambda x, w: (tg.tanh(x @ w), (x * x).sum())), (variable(3, 2), variable(2, 4)))
    assert tg.gradgradcheck(tg.compile(lambda x: tg.tanh(x * x).sum()), (variable(3),))
    assert len(compiled.programs) >= 1


# --- what a result is ---


def test_results_with_and_without_a_gradient() -> None:
    w = variable(3)

    @tg.compile
    def f(x: tg.Tensor, d: dict[str, tg.Tensor]) -> Any:
        y = x * w
        return {"y": y, "again": y, "view": y.reshape(3, 1), "plain": y.detach(), "best": y.argmax(), "n": 3,
                "same": d["x"], "w": w, "none": None, "list": [y.sum(), tg.ones(2)]}  # fmt: skip

    for _ in range(2):
        x = variable(3, seed=4)
        d = {"x": x}
        r = f(x, d)
        assert [k for k, v in r.items() if isinstance(v, tg.Tensor) and v.requires_grad] == [
            "y", "again", "view", "same", "w",
        ]  # fmt: skip
        assert r["y"] is r["again"]
        assert r["same"] is x
        assert r["w"] is w
        assert (r["n"], r["none"]) == (3, None)
        assert r["list"][0].requires_grad
        assert not r["list"][1].requires_grad
        assert r["best"].item() == int((x * w).argmax().item())
        assert "grad_fn=<f>" in repr(r["y"])
        w.grad = None
        ((r["y"] + r["again"]) * r["plain"] + r["view"].sum() + r["same"]).sum().backward()
        y = (x * w).detach()
        close(w.grad, (2 * y + 3) * x.detach())
        close(x.grad, (2 * y + 3) * w.detach() + 1)


def test_gradients_add_up_and_no_grad_gives_constants() -> None:
    w = variable(2)
    f = tg.compile(lambda x: (x * w).sum())
    for _ in range(3):
        f(tg.tensor([1.0, 2.0]).double()).backward()
    close(w.grad, tg.tensor([3.0, 6.0]).double())
    with tg.no_grad():
        assert not f(tg.ones(2).double()).requires_grad
    assert len(f.programs) == 2


def test_a_result_of_a_backward_pass_inside_carries_none() -> None:
    w = variable(3)

    @tg.compile
    def step(x: tg.Tensor) -> Any:
        y = x * w
        loss = (y * y).sum()
        loss.backward()
        return loss, y * 2, (x * w).sum()

    loss, double, other = step(tg.ones(3).double())
    assert [t.requires_grad for t in (loss, double, other)] == [False, False, True]
    before = w.grad
    assert before is not None
    before = before.clone()
    other.backward()
    close(w.grad, before + 1.0)


@pytest.mark.parametrize("executor", ["numpy", None])
def test_changed_parameters_and_buffers_of_the_call_itself(executor: Any) -> None:
    """The backward half has the numbers from before the change."""
    results = []
    for compiled in (False, True):
        w, scale, x = variable(3), tg.ones(3).double(), variable(3, seed=1)

        def f(x: tg.Tensor, w: tg.Tensor = w, scale: tg.Tensor = scale) -> tg.Tensor:
            y = (x * w * scale.clone()).sum()
            with tg.no_grad():
                scale.mul_(2.0)
            return y

        run = tg.compile(lambda x, f=f: f(x), executor=executor) if compiled else f
        for _ in range(3):
            run(x).backward()
        results.append([w.grad, x.grad, scale])
    close(*results)


def test_products_of_both_halves_with_one_right_hand_side() -> None:
    w, grads = variable(3, 3), []

    def f(x: tg.Tensor, k: tg.Tensor) -> tg.Tensor:
        one, other = [r @ w for r in x.split(1)], [r @ w.T for r in k.split(1)]
        return tg.cat([*one, *[tg.tanh(o) for o in other]])

    for run in (f, tg.compile(f)):
        x, k, w.grad = variable(4, 3, seed=1), variable(4, 3, seed=2), None
        y = run(x, k)
        (y * y).sum().backward()
        grads.append([y, x.grad, k.grad, w.grad])
    close(*grads)


def test_no_gradient_comes_back() -> None:
    for f in (lambda x: tg.floor(x), lambda x: tg.floor(x) + x.detach()):
        found = []
        for run in (f, tg.compile(f)):
            x = variable(3)
            run(x).sum().backward()
            found.append(x.grad)
        close(*found)


# --- when the backward pass comes ---


@both
def test_late_backward_passes(executor: str) -> None:
    lstm = nn.LSTM(2, 3).double()
    f = tg.compile(lambda x: lstm(x)[0].sum(), executor=executor)
    xs = [variable(4, 2, 2, seed=n) for n in range(4)]
    ys = [f(x) for x in xs]
    for n in (2, 0, 3, 1):
        ys[n].backward()
    assert len(f.programs) == 1
    eager = [variable(4, 2, 2, seed=n) for n in range(4)]
    for x, other in zip(xs, eager, strict=True):
        lstm(other)[0].sum().backward()
        close(x.grad, other.grad)


def test_through_a_state_that_is_passed_on() -> None:
    lstm = nn.LSTM(2, 3).double()
    f: Any = tg.compile(lstm)
    grads = []
    for run in (lstm, f):
        lstm.zero_grad()
        x, state, total = variable(3, 2, 2), None, tg.tensor(0.0).double()
        for _ in range(4):
            y, state = run(x, state)
            total = total + y.sum()
        total.backward()
        grads.append([x.grad, *[p.grad for p in lstm.parameters()]])
    close(*grads)
    assert len(f.programs) == 2


def test_twice_with_the_graph_retained_and_once_without() -> None:
    x = variable(3)
    f = tg.compile(lambda x: tg.exp(x).sum())
    y = f(x)
    y.backward(retain_graph=True)
    f(variable(3, seed=9))
    y.backward()
    close(x.grad, 2 * tg.exp(x))
    with pytest.raises(RuntimeError, match="freed by an earlier backward pass"):
        y.backward()


def test_what_a_call_keeps_goes_with_its_graph() -> None:
    f = tg.compile(lambda x: tg.exp(x * 2))
    y = f(variable(3))
    kept = weakref.ref(y.grad_fn.inputs[-1])
    loss = y.sum()
    del y
    assert kept() is not None
    loss.backward()
    gc.collect()
    assert kept() is None


def test_a_change_in_place_is_noticed_or_harmless() -> None:
    w, b = variable(3), variable(3)
    f = tg.compile(lambda x: (x * w + b).sum())
    y = f(tg.ones(3).double())
    with tg.no_grad():
        b.mul_(2.0)  # which no rule asks for
    y.backward()
    x = variable(3)
    y = f(x)
    with tg.no_grad():
        w.mul_(2.0)
    with pytest.raises(RuntimeError, match=r"an input of '<lambda>'.*was changed in place"):
        y.backward()
    z = tg.compile(lambda x: tg.exp(x * 1.0))(x)
    with tg.no_grad():
        x.mul_(2.0)  # the exponential is kept, not x
        kept = z.detach().numpy().copy()
        z.detach().mul_(3.0)
    x.grad = None
    z.sum().backward()
    close(x.grad, tg.tensor(kept))


@pytest.mark.host("NumPy's arrays as arguments")
def test_memory_that_others_can_write_to_is_copied() -> None:
    numbers = np.array([1.0, 2.0, 3.0])
    w = variable(3)
    f = tg.compile(lambda x: (w * tg.tensor(x)).sum())
    for tensor in (np.asarray, tg.from_numpy, lambda x: tg.from_numpy(x).requires_grad_()):
        w.grad = None
        y, before = f(tensor(numbers)), tg.tensor(numbers)
        numbers += 1
        y.backward()
        close(w.grad, before)


@pytest.mark.host("memory that NumPy shares")
def test_a_parameter_in_lent_memory_takes_no_new_plan_at_each_call() -> None:
    w = tg.from_numpy(np.ones(3)).requires_grad_()
    f: Any = tg.compile(lambda x: (w * x).exp().sum())
    plans = []
    for n in range(3):
        x = variable(3, seed=n)
        f(x).backward()
        close(x.grad, tg.exp(x))
        (replay,) = next(iter(f._cache.values()))
        plans.append(replay.backward._executor.plan)
    assert plans[0] is plans[2]


def test_parameters_replaced() -> None:
    layer = nn.Linear(2, 2).double()
    f: Any = tg.compile(layer)
    x = tg.ones(1, 2).double()
    f(x).sum().backward()
    layer.weight.data = tg.full((2, 2), 3.0).double()
    x = variable(1, 2)
    f(x).sum().backward()
    close(x.grad, tg.full((1, 2), 6.0).double())
    layer.load_state_dict({"weight": tg.ones(2, 2), "bias": tg.ones(2)})
    x.grad = None
    f(x).sum().backward()
    close(x.grad, tg.full((1, 2), 2.0).double())
    count = len(f.programs)
    layer.weight = nn.Parameter(tg.full((2, 2), 5.0).double())
    x.grad = None
    f(x).sum().backward()
    close(x.grad, tg.full((1, 2), 10.0).double())
    assert layer.weight.grad is not None
    assert len(f.programs) == count + 1


def test_parameters_frozen_and_thawed() -> None:
    layer = nn.Linear(2, 2)
    f = tg.compile(layer)
    layer.weight.requires_grad_(False)
    f(tg.ones(1, 2)).sum().backward()
    assert layer.weight.grad is None
    layer.weight.requires_grad_()
    f(tg.ones(1, 2)).sum().backward()
    assert layer.weight.grad is not None
    layer.requires_grad_(False)
    assert not f(tg.ones(1, 2)).requires_grad
    layer.requires_grad_()
    f(tg.ones(1, 2)).sum().backward()
    assert len(f.programs) == 3


def test_one_variable_given_twice_and_two_that_share_memory() -> None:
    f = tg.compile(lambda a, b: (a * a * b).sum())
    x = variable(3)
    for _ in range(2):
        x.grad = None
        f(x, x).backward()
        close(x.grad, 3 * x * x)
        other = x.detach().requires_grad_()
        x.grad = None
        f(x, other).backward()
        close([x.grad, other.grad], [2 * x * x, x * x])
        x.grad = None
        f(x, x.detach()).backward()
        close(x.grad, 2 * x * x)


def test_hooks_are_called_once() -> None:
    w, x = variable(3), variable(3)
    seen: list[str] = []

    def note(name: str) -> Any:
        seen.append(name)

    w.register_hook(lambda g: note("w") or g * 2)
    inner = x * 1.0
    inner.register_hook(lambda g: note("x"))
    f = tg.compile(lambda x: (x * w).sum())
    f(inner).backward(retain_graph=True)
    assert sorted(seen) == ["w", "x"]
    close(w.grad, 2 * x)
    w.grad = None
    f(inner).backward(create_graph=True)
    assert sorted(seen) == ["w", "w", "x", "x"]
    close(w.grad, 2 * x)


def test_a_gradient_that_somebody_keeps_stays_as_it_is() -> None:
    w = variable(2)
    f = tg.compile(lambda x: (x * w).sum())
    kept: list[tg.Tensor | None] = []
    for n in range(4):
        w.grad = None
        f(tg.full((2,), float(n)).double()).backward()
        kept.append(w.grad)
    assert [g.tolist() for g in kept if g is not None] == [[n, n] for n in range(4)]


def test_two_threads() -> None:
    layer = nn.LSTM(2, 3).double().requires_grad_(False)  # or the gradients would have a graph of their own
    f = tg.compile(lambda x: layer(x)[0].sum(), executor="numpy")
    xs, one, wrong = [variable(12, 1, 2, seed=n).detach() for n in range(8)], tg.tensor(1.0).double(), []
    expected = [tg.grad(lambda x: layer(x)[0].sum())(x).detach().numpy() for x in xs]

    def work(n: int) -> None:
        for _ in range(30):
            g = tg.vjp(f, xs[n])[1](one)[0].detach().numpy()
            if not np.allclose(g, expected[n], rtol=1e-9):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(xs))]
    often = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    sys.setswitchinterval(often)
    assert not wrong


# --- transformations, and higher order ---


def objective(x: tg.Tensor) -> tg.Tensor:
    return (tg.tanh(x) * x * tg.exp(-x)).sum()


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: tg.grad(f),
        lambda f: tg.value_and_grad(f),
        lambda f: tg.grad(lambda x: tg.grad(f)(x).pow(2).sum()),
        lambda f: tg.hessian(f),
        lambda f: lambda x: tg.hvp(f, (x,), (tg.ones_like(x),)),
        lambda f: lambda x: tg.jvp(f, (x,), (tg.ones_like(x),)),
        lambda f: lambda x: tg.jacobian(lambda x: f(x) * x)(x),
        lambda f: lambda x: tg.vjp(f, x)[1](tg.tensor(2.0).double()),
        lambda f: lambda x: tg.vmap(tg.grad(f))(x.reshape(-1, 1)),
        lambda f: tg.compile(tg.grad(f)),
        lambda f: lambda x: tg.grad(lambda x: tg.checkpoint(f, x))(x),
    ],
)
def test_transformations(transform: Callable[..., Any]) -> None:
    compiled = tg.compile(objective)
    for n in range(2):
        x = variable(4, seed=n).detach()
        close(transform(compiled)(x), transform(objective)(x))
    assert compiled.programs or transform(objective)


def test_a_second_derivative_draws_the_same_masks() -> None:
    layer, found = nn.Linear(3, 3).double(), []

    def f(x: tg.Tensor) -> tg.Tensor:
        return F.dropout(tg.tanh(layer(x)), 0.5).sum()

    for run in (f, tg.compile(f)):
        tg.manual_seed(3)
        layer.zero_grad()
        x = variable(4, 3)
        run(x).backward(create_graph=True)
        assert x.grad is not None
        (x.grad**2).sum().backward()
        found.append([x.grad, *[p.grad for p in layer.parameters()], tg.rand(2)])
    close(found[0], found[1])


def test_a_second_derivative_after_a_change_or_of_what_changes_something() -> None:
    w = variable(3)
    f = tg.compile(lambda x: (x * x * tg.exp(w * 0.0)).sum())
    x = variable(3)
    y = f(x)
    w.data = tg.ones(3).double()
    with pytest.raises(RuntimeError, match=r"second derivative.*was changed since; change it after backward"):
        y.backward(create_graph=True)
    count = tg.zeros(1)

    @tg.compile
    def counted(x: tg.Tensor) -> tg.Tensor:
        with tg.no_grad():
            count.add_(1.0)
        return (x * x).sum()

    with pytest.raises(RuntimeError, match=r"second derivative.*changes something outside.*without compile"):
        counted(x).backward(create_graph=True)
    assert count.item() == 1


# --- what is refused ---


def test_what_cannot_carry_a_gradient() -> None:
    x, state = variable(3), tg.zeros(3).double()
    with pytest.raises(tg.CompileError, match="makes itself, anew at each call; make parameters outside"):
        tg.compile(lambda x: x * nn.Parameter(tg.ones(3)))(tg.ones(3))
    with pytest.raises(tg.CompileError, match="returns a variable that it makes itself"):
        tg.compile(lambda x: x.detach().requires_grad_())(x)
    with pytest.raises(tg.CompileError, match=r"changes argument 1 in place.*under no_grad"):
        tg.compile(lambda x, s: s.copy_(x * 2).sum())(x, state)

    @tg.compile
    def changing(x: tg.Tensor) -> tg.Tensor:
        y = (x * state).sum()
        state.mul_(2.0)
        return y

    with pytest.raises(tg.CompileError, match=r"but it could not: .* was changed in place.*return y.detach"):
        changing(x)
    assert state.tolist() == [0, 0, 0]
    loss = tg.compile(lambda x: (x * x).sum())(x)
    with pytest.raises(tg.CompileError, match="reaches the result of <lambda>, which was called outside"):
        tg.compile(lambda y: y.backward())(loss)
    assert type(x.detach().numpy()) is np.ndarray
    assert type(state.numpy()) is np.ndarray


# --- modules ---


class Small(nn.Module):
    def __init__(self) -> None:
        self.rnn = nn.LSTM(3, 4)
        self.out = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.out(self.rnn(x)[0])


def test_a_compiled_module_is_the_module_to_others() -> None:
    model = Small()
    compiled: Any = tg.compile(model)
    passes: bool = isinstance(compiled, nn.Module)
    assert passes
    assert all(a is b for a, b in zip(compiled.parameters(), model.parameters(), strict=True))
    assert compiled.state_dict().keys() == model.state_dict().keys()
    compiled.eval()
    assert not model.out.training
    compiled.note = "set"
    assert vars(model)["note"] == "set"
    del compiled.note
    assert "note" not in vars(model)
    assert compiled.rnn is model.rnn
    assert compiled._orig_mod is model
    assert "out" in dir(compiled)
    assert repr(compiled).startswith("<compiled Small(")
    with pytest.raises(AttributeError, match="nothing_such"):
        compiled.nothing_such  # noqa: B018
    double = compiled.double()
    assert double is model
    compiled.load_state_dict({name: tg.zeros_like(p) for name, p in model.state_dict().items()})
    assert compiled(tg.ones(2, 1, 3).double()).tolist() == [[[0.0, 0.0]], [[0.0, 0.0]]]


def test_a_compiled_part_of_a_module() -> None:
    model: Any = Small().eval()
    x = tg.ones(2, 1, 3)
    names, y = [*model.state_dict()], model(x)
    model.rnn, model.out = tg.compile(model.rnn), tg.compile(model.out)
    assert [*model.state_dict()] == names
    close(model(x), y, rtol=1e-6, atol=1e-6)
    assert len(model.out) == 2
    assert model.out[0] is [*model.out][0]  # noqa: RUF015
    assert model.out
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert len(model.rnn.programs) == 1
    plain, zeros = Small().eval(), {"rnn.weight_ih_l0": tg.zeros(16, 3)}
    plain.load_state_dict(model.state_dict())
    close(nn.functional_call(model, zeros, (x,)), nn.functional_call(plain, zeros, (x,)), rtol=1e-6, atol=1e-6)


def test_copies_of_a_compiled_module() -> None:
    model = tg.compile(Small().eval())
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        close(other(tg.ones(2, 1, 3)), model(tg.ones(2, 1, 3)))
        assert other.rnn is not model.rnn
    outer = nn.Sequential(model)
    assert copy.deepcopy(outer)[0].rnn is not model.rnn


def test_a_program_says_what_it_keeps() -> None:
    f = tg.compile(lambda x: tg.exp(x * 2))
    f(variable(3))
    assert "a call keeps 24 bytes" in f.programs[0].explanation()
    assert "the gradient of result 0" in str(f.programs[0].backward)
