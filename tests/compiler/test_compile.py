"""`tg.compile` as its users meet it: what it captures, when it records anew, what it refuses, what it leaves behind."""

from __future__ import annotations

import re
import sys
import threading
import warnings
from typing import Any

import numpy as np
import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg
from nn import optim
from tinygrad_seq.compiler import compiled as module
from tinygrad_seq.graph.saved_tensors import version_counter


def model_and_step(executor: str | None = None) -> tuple[nn.Module, optim.Optimizer, Any]:
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.2), nn.Linear(4, 2))
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x: tg.Tensor) -> tg.Tensor:
        loss = (model(x) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return model, optimizer, tg.compile(step, executor=executor)


def everything(model: nn.Module, optimizer: optim.Optimizer, gradients: bool = True) -> list[Any]:
    """Parameters, gradients, the optimizer's state and the random stream, as plain numbers."""
    found: list[Any] = [p.detach().numpy().copy() for p in model.parameters()]
    if gradients:
        found += [None if p.grad is None else p.grad.numpy().copy() for p in model.parameters()]
    for state in optimizer.state.values():
        found += [v.numpy().copy() if isinstance(v, tg.Tensor) else v for v in state.values()]
    return [*found, tg.default_generator.get_state()]


def equal(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


# --- what is captured ---


def test_the_first_step_of_an_optimizer_runs_eagerly_and_the_second_is_recorded() -> None:
    _, optimizer, step = model_and_step()
    step(tg.ones(5, 3))
    assert len(step.programs) == 0
    for _ in range(3):
        step(tg.ones(5, 3))
    assert len(step.programs) == 1
    assert optimizer.state[0]["step"] == 4
    assert type(optimizer.state[0]["step"]) is int


def test_an_array_put_in_the_place_of_a_parameters_is_used() -> None:
    w = nn.Parameter(tg.ones(3))
    f = tg.compile(lambda x: (x * w.detach()).sum())
    x = tg.tensor([1.0, 2.0, 3.0])
    assert f(x).item() == 6
    w.data = tg.full((3,), 2.0)
    assert f(x).item() == 12
    with tg.no_grad():
        w.mul_(2.0)
    assert f(x).item() == 24
    w.data = w.data.double()
    assert f(x.double()).dtype == tg.float64


def test_a_loaded_model_and_optimizer_go_on_from_there() -> None:
    model, optimizer, step = model_and_step()
    for _ in range(3):
        step(tg.ones(5, 3))
    saved = (
        {k: v.clone() for k, v in model.state_dict().items()},
        optimizer.state_dict(),
        tg.default_generator.get_state(),
    )
    saved[1]["state"] = {n: {k: v.clone() if isinstance(v, tg.Tensor) else v for k, v in s.items()}
                         for n, s in saved[1]["state"].items()}  # fmt: skip
    first = [step(tg.ones(5, 3)).item() for _ in range(3)]
    model.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    tg.default_generator.set_state(saved[2])
    assert [step(tg.ones(5, 3)).item() for _ in range(3)] == first
    assert len(step.programs) == 1


def test_a_learning_rate_is_read_at_each_call() -> None:
    model, optimizer, step = model_and_step()
    for _ in range(3):
        step(tg.ones(5, 3))
    optimizer.param_groups[0]["lr"] = 0.0
    before = [p.detach().numpy().copy() for p in model.parameters()]
    step(tg.ones(5, 3))
    assert equal(before, [p.detach().numpy() for p in model.parameters()])
    assert len(step.programs) == 1
    optimizer.param_groups[0]["lr"] = -1.0
    with pytest.raises(ValueError, match="lr must not be negative"):
        step(tg.ones(5, 3))


def test_another_weight_decay_is_another_program() -> None:
    _, optimizer, step = model_and_step()
    for _ in range(3):
        step(tg.ones(5, 3))
    optimizer.param_groups[0]["weight_decay"] = 0.1
    step(tg.ones(5, 3))
    assert len(step.programs) == 2


def test_training_and_evaluating_are_two_programs() -> None:
    dropout = nn.Dropout(0.5)
    f = tg.compile(lambda x: dropout(x))
    x = tg.ones(100)
    assert (f(x) == 0).any().item()
    dropout.eval()
    assert (f(x) == 1).all().item()
    dropout.train()
    assert (f(x) == 0).any().item()
    assert len(f.programs) == 2


@pytest.mark.host("NumPy's arrays as arguments")
def test_arrays_are_arguments_too_and_captured_ones_are_read_at_each_call() -> None:
    seen = np.zeros(3, np.float32)
    f = tg.compile(lambda x: tg.tensor(x) + tg.tensor(seen))
    assert f(np.ones(3, np.float32)).tolist() == [1, 1, 1]
    seen[:] = 5
    assert f(np.ones(3, np.float32)).tolist() == [6, 6, 6]


def test_gradients_add_up_where_nobody_forgets_them() -> None:
    w = nn.Parameter(tg.ones(2))

    @tg.compile
    def add(x: tg.Tensor) -> None:
        (w * x).sum().backward()

    for n in range(1, 5):
        add(tg.tensor([1.0, 2.0]))
        assert w.grad is not None
        assert w.grad.tolist() == [n, 2.0 * n]


def test_a_gradient_that_somebody_keeps_stays_as_it_is() -> None:
    model, _, step = model_and_step()
    for _ in range(3):
        step(tg.randn(5, 3))
    p = next(iter(model.parameters()))
    kept = p.grad
    assert kept is not None
    view, before = kept.numpy(), kept.numpy().copy()
    step(tg.randn(5, 3))
    assert p.grad is not kept
    assert np.array_equal(view, before)
    del kept
    step(tg.randn(5, 3))
    assert np.array_equal(view, before)


def test_results_of_an_earlier_call_stay_as_they_are() -> None:
    f = tg.compile(lambda x: (x * 2, x[:1]))
    a, b = f(tg.ones(3))
    f(tg.zeros(3))
    assert a.tolist() == [2, 2, 2]
    assert b.tolist() == [1]


def test_arguments_changed_in_place_are_changed() -> None:
    def swap(a: tg.Tensor, b: tg.Tensor) -> None:
        old = a.clone()
        a.copy_(b)
        b.copy_(old)

    f = tg.compile(swap)
    for _ in range(3):
        a, b = tg.ones(2), tg.zeros(2)
        f(a, b)
        assert (a.tolist(), b.tolist()) == ([0, 0], [1, 1])


def test_one_tensor_given_twice() -> None:
    f = tg.compile(lambda a, b: a + 2 * b)
    x = tg.ones(2)
    assert f(x, x).tolist() == [3, 3]
    assert f(tg.ones(2), tg.zeros(2)).tolist() == [1, 1]


def grad_of(w: tg.Tensor) -> list[float]:
    assert w.grad is not None
    return w.grad.tolist()


@pytest.mark.parametrize("known_first", [True, False])
def test_an_argument_that_is_a_captured_tensor_too(known_first: bool) -> None:
    w, other = nn.Parameter(tg.full((2,), 3.0)), nn.Parameter(tg.ones(2))
    f = tg.compile(lambda a: a * w)
    calls = [(w, [9, 9], [6, 6]), (other, [3, 3], [1, 1])]
    for a, value, gradient in (calls if known_first else calls[::-1]) * 2:
        w.grad = other.grad = None
        product = f(a)
        product.sum().backward()
        assert product.tolist() == value
        assert grad_of(w) == gradient
        assert a is w or grad_of(other) == [3, 3]
    assert len(f.programs) == 2


def test_an_argument_that_is_a_parameter_of_the_optimizer() -> None:
    w = nn.Parameter(tg.ones(2))
    optimizer = optim.SGD([w], lr=0.5)

    @tg.compile
    def step(x: tg.Tensor) -> tg.Tensor:
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        optimizer.step()
        return loss.detach()

    step(tg.ones(2, requires_grad=True))
    assert w.tolist() == [1, 1]
    step(w)
    assert w.tolist() == [0, 0]


def test_an_argument_whose_gradient_the_function_looks_at_as_another_ones() -> None:
    w = tg.ones(2, requires_grad=True)

    @tg.compile
    def f(x: tg.Tensor) -> tg.Tensor:
        loss = (x * x).sum()
        loss.backward()
        return loss.detach() if w.grad is None else w.grad * 1

    assert f(tg.ones(2, requires_grad=True)).item() == 2
    assert f(w).tolist() == [2, 2]


def test_hooks_of_arguments_belong_to_a_program() -> None:
    @tg.compile
    def f(x: tg.Tensor) -> None:
        (x * x).sum().backward()

    for hooked in (False, True, False):
        x = tg.ones(2, requires_grad=True)
        if hooked:
            x.register_hook(lambda g: g * 2)
        f(x)
        assert grad_of(x) == ([4, 4] if hooked else [2, 2])


def test_arguments_that_share_memory_with_what_is_changed() -> None:
    w = tg.arange(3.0)
    f = tg.compile(lambda x: (w.add_(1), x * 2 + w)[1])
    f(tg.zeros(3))
    with pytest.raises(tg.CompileError, match="shares its memory"):
        f(w[:])
    assert w.tolist() == [1, 2, 3]


def test_an_argument_that_is_kept_is_refused() -> None:
    layer = nn.Linear(2, 2)
    weight = layer.weight

    def f(p: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
        layer.weight = p  # type: ignore[assignment]
        return layer(x)

    with pytest.raises(tg.CompileError, match="assigns to the attribute 'weight' of a Linear"):
        tg.compile(f)(nn.Parameter(tg.ones(2, 2)), tg.ones(3, 2))
    layer.weight = weight


def test_captured_tensors_that_share_an_array_until_one_is_replaced() -> None:
    a = tg.ones(2)
    b = a.detach()
    f = tg.compile(lambda: a + 10 * b)
    assert f().tolist() == [11, 11]
    b.data = tg.zeros(2)
    assert f().tolist() == [1, 1]
    b.data = a
    assert f().tolist() == [11, 11]


def test_a_captured_numpy_array_given_as_an_argument() -> None:
    known = np.full(2, 3.0, np.float32)
    f = tg.compile(
        lambda x: tg.tensor(known) * x if isinstance(x, tg.Tensor) else tg.from_numpy(known) * tg.from_numpy(x)
    )
    assert f(known).tolist() == [9, 9]
    assert f(np.ones(2, np.float32)).tolist() == [3, 3]


def test_an_argument_returned_as_it_is() -> None:
    f = tg.compile(lambda a: (a, {"twice": a * 2, "name": "a", "nothing": None}))
    same, more = f(tg.ones(2))
    assert same.tolist() == [1, 1]
    assert more["twice"].tolist() == [2, 2]
    assert (more["name"], more["nothing"]) == ("a", None)


def test_a_decision_by_a_learning_rate_is_asked_again() -> None:
    w = nn.Parameter(tg.ones(1))
    optimizer = optim.SGD([w], lr=1.0, weight_decay=0.5)

    @tg.compile
    def step() -> None:
        optimizer.zero_grad()
        (w * 1.0).sum().backward()
        optimizer.step()

    step()
    optimizer.param_groups[0]["momentum"] = 0.5
    step()
    step()
    eager = nn.Parameter(tg.ones(1))
    other = optim.SGD([eager], lr=1.0, weight_decay=0.5)
    for n in range(3):
        other.param_groups[0]["momentum"] = 0.5 if n else 0.0
        eager.grad = tg.ones(1)
        other.step()
    assert w.tolist() == eager.tolist()


# --- when it records anew ---


def test_each_shape_dtype_and_number_has_its_program() -> None:
    f = tg.compile(lambda x, n=1: x * n)
    f(tg.ones(2)), f(tg.ones(3)), f(tg.ones(2).double()), f(tg.ones(2), 2), f(tg.ones(2), n=2)
    assert len(f.programs) == 5
    f(tg.zeros(3)), f(tg.zeros(2), 2)
    assert len(f.programs) == 5


def test_a_warning_after_many_recordings_and_a_bound() -> None:
    f = tg.compile(lambda x, n: x.reshape(n, -1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n in range(1, module.Compiled.patience):
            f(tg.ones(n), n)
    with pytest.warns(tg.RecompileWarning, match="recorded 8 times.*pass numbers that change as tensors"):
        f(tg.ones(100), 100)
    for n in range(1, 31):
        assert f(tg.ones(n), n).tolist() == [[1.0]] * n
    assert len(f.programs) == module.Compiled.limit


# --- what it refuses ---

FETCHED = pytest.mark.host("on a device `numpy()` fetches, for tests")
KEPT: list[Any] = []


def _branch(x: tg.Tensor) -> tg.Tensor:
    return x if x.sum() > 0 else -x


def _item(x: tg.Tensor) -> float:
    return x.sum().item()


def _numpy(x: tg.Tensor) -> Any:
    return np.exp(x.numpy())


def _asarray(x: tg.Tensor) -> Any:
    return np.asarray(x)


def _chosen(x: tg.Tensor) -> Any:
    return x[x > 0]


def _nonzero(x: tg.Tensor) -> Any:
    return tg.nonzero(x)


def _listed(x: tg.Tensor) -> tg.Tensor:
    KEPT.append(x * 2)
    return x


def _counted(x: tg.Tensor) -> tg.Tensor:
    KEPT.append(1)
    return x


def _graph(x: tg.Tensor) -> tg.Tensor:
    return nn.Linear(3, 1)(x)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (_branch, "asks for the number.*use tg.where"),
        (_item, "asks for the number.*return the tensor"),
        pytest.param(_numpy, "NumPy asks for the numbers.*use tg's functions", marks=FETCHED),
        pytest.param(_asarray, "NumPy asks for the numbers.*use tg's functions", marks=FETCHED),
        (_chosen, "booleans picks elements.*masked_fill"),
        (_nonzero, "depends on values"),
        (_listed, "keeps a tensor.*return it instead"),
        (_counted, "changes the list 'KEPT'.*return what is to go there"),
        (_graph, "gradient could pass through.*detach"),
    ],
)
def test_what_cannot_be_replayed(f: Any, message: str) -> None:
    KEPT.clear()
    with pytest.raises(tg.CompileError, match=message) as caught:
        tg.compile(f)(tg.ones(3))
    if "KEPT" not in str(caught.value) and f is not _graph:  # the user's line
        line = f.__code__.co_firstlineno + 1
        assert re.search(rf"{re.escape(__file__)}:{line}\)", str(caught.value))
    KEPT.clear()
    assert tg.compile(lambda x: x + 1)(tg.ones(1)).item() == 2  # and recording is over


def test_a_schedulers_step_belongs_outside() -> None:
    model, optimizer, _ = model_and_step()
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    @tg.compile
    def step(x: tg.Tensor) -> None:
        optimizer.zero_grad()
        model(x).sum().backward()
        optimizer.step()
        schedule.step()

    with pytest.raises(tg.CompileError, match="scheduler"):
        step(tg.ones(2, 3))
    assert schedule.last_epoch == 0


def test_what_is_not_a_function_or_an_argument() -> None:
    with pytest.raises(TypeError, match="compile: takes a function, got a int"):
        tg.compile(3)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="mode is None, 'explain' or 'verify', got 'fast'"):
        tg.compile(_branch, mode="fast")
    with pytest.raises(tg.CompileError, match="an argument is a set"):
        tg.compile(lambda x: 1)({1})


# --- what it leaves behind ---


@pytest.mark.host("to look at tokens would wait for a GPU")
@pytest.mark.parametrize("warm", [0, 1, 3])
def test_a_failed_call_leaves_all_as_it_was(warm: int) -> None:
    model, optimizer, step = model_and_step()
    for _ in range(warm):
        step(tg.ones(5, 3))
    failing = [False]

    @tg.compile
    def broken(x: tg.Tensor) -> None:
        optimizer.zero_grad()
        (model(x) ** 2).mean().backward()
        optimizer.step()
        tg.rand(3)
        if not failing:
            return
        raise KeyError("after everything")

    before = everything(model, optimizer)
    if warm:
        with pytest.raises(KeyError, match="after everything"):
            broken(tg.ones(5, 3))
        assert equal(before, everything(model, optimizer))
    with pytest.raises(IndexError, match="embedding: got index 5"):
        tg.compile(lambda t: F.embedding(t, tg.ones(3, 2)))(tg.tensor([5]))
    assert all(type(p.detach().numpy()) is np.ndarray for p in model.parameters())


@pytest.mark.host("to look at tokens would wait for a GPU")
def test_a_check_that_fails_at_a_replay_leaves_all_as_it_was() -> None:
    table = nn.Embedding(5, 3)
    optimizer = optim.Adam(table.parameters())

    @tg.compile
    def step(tokens: tg.Tensor) -> None:
        optimizer.zero_grad()
        table(tokens).sum().backward()
        optimizer.step()

    for _ in range(3):
        step(tg.tensor([1, 2]))
    before = everything(table, optimizer)
    with pytest.raises(IndexError, match="embedding: got index 7"):
        step(tg.tensor([1, 7]))
    assert equal(before, everything(table, optimizer))


@pytest.mark.parametrize("before", [True, False])
def test_an_interrupted_replay_leaves_a_whole_step(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for interrupted in (False, True):
        model, optimizer, step = model_and_step()
        for _ in range(3):
            step(tg.ones(5, 3))
        then = everything(model, optimizer)
        if interrupted:
            count = iter(range(100))
            real = version_counter.bump_known

            def mark(writes: Any, count: Any = count, real: Any = real) -> None:
                if not before:
                    real(writes)
                if next(count) == 0:
                    raise KeyboardInterrupt
                real(writes)

            with monkeypatch.context() as patch:
                patch.setattr(version_counter, "bump_known", mark)
                with pytest.raises(KeyboardInterrupt):
                    step(tg.ones(5, 3))
        else:
            step(tg.ones(5, 3))
        results.append(everything(model, optimizer))
        assert not equal(then, results[-1])
    assert equal(*results)


@pytest.mark.parametrize("executor", ["numpy", None])
def test_an_interrupt_at_any_line_of_a_replay_leaves_a_whole_step(executor: str | None) -> None:
    model, optimizer, step = model_and_step(executor)
    other, other_optimizer, other_step = model_and_step(executor)

    def state() -> list[Any]:
        return everything(model, optimizer, gradients=False)

    stream = tg.default_generator.get_state()
    for run in (step, other_step):
        tg.default_generator.set_state(stream)
        for _ in range(3):
            run(tg.ones(5, 3))
    lines, interrupted = 0, True
    while interrupted:
        lines += 1
        count = iter(range(lines))

        def watch(frame: Any, event: str, _: Any, count: Any = count) -> Any:
            ours = "compiler" in frame.f_code.co_filename
            if ours and event == "line" and next(count, None) is None:
                sys.settrace(None)
                raise KeyboardInterrupt
            return watch if ours else None

        before, stream = state(), tg.default_generator.get_state()
        sys.settrace(watch)
        try:
            step(tg.ones(5, 3))
            interrupted = False
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        now = state()
        tg.default_generator.set_state(stream)
        other_step(tg.ones(5, 3))
        whole = everything(other, other_optimizer, gradients=False)
        assert equal(now, before) or equal(now, whole), f"interrupted at line {lines}"
        if equal(now, before):
            tg.default_generator.set_state(stream)
            step(tg.ones(5, 3))
            assert equal(state(), whole)
    assert lines > 100


def test_two_threads_share_a_compiled_function() -> None:
    f = tg.compile(lambda x: (x.reshape(-1) * 2 + 1).cumsum(0))
    wrong = []

    def work(n: int) -> None:
        for k in range(50):
            x = np.full((3, 2 + (k + n) % 3), n, np.float32)
            if not np.array_equal(f(tg.tensor(x)).numpy(), (x.reshape(-1) * 2 + 1).cumsum()):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


# --- what there is to look at ---


def test_a_program_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    layer = nn.RNN(3, 4)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)

    def step(x: tg.Tensor) -> None:
        optimizer.zero_grad()
        layer(x)[0].sum().backward()
        optimizer.step()

    f = tg.compile(step, mode="explain")
    for _ in range(2):
        f(tg.ones(6, 2, 3))
    text = str(f.programs[0])
    assert "matmul" in text
    assert "float32[12, 3]" in text
    assert __file__ in text
    assert "products" in capsys.readouterr().err


def test_a_weights_gradient_is_one_product_however_many_steps() -> None:
    layer = nn.RNN(3, 4)

    @tg.compile
    def f(x: tg.Tensor) -> None:
        layer.zero_grad()
        layer(x)[0].sum().backward()

    f(tg.ones(9, 2, 3))
    f(tg.ones(9, 2, 3))
    count = sum([i.op == "matmul" and i.out.shape == (4, 4) for i in f.programs[-1].instrs])
    assert count == 1


def test_a_program_can_be_drawn() -> None:
    f = tg.compile(lambda x, y: (x @ y).tanh())
    f(tg.ones(2, 3), tg.ones(3, 4))
    text = str(tg.draw_graph(f.programs[0]))
    assert text.count("->") == 3
    assert "argument 1\\n(3, 4)" in text
    assert "matmul" in text


def test_a_shape_that_turns_out_otherwise_is_noticed() -> None:
    f = tg.compile(lambda x: tg.unique(x) * 2)
    assert f(tg.tensor([1, 1, 2])).tolist() == [2, 4]
    with pytest.raises(tg.CompileError, match="shape of unique depends on values: it was"):
        f(tg.tensor([1, 2, 3]))


def test_a_generator_is_seeded_outside() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        y = x + tg.rand(2)
        tg.manual_seed(0)
        return y + tg.rand(2)

    with pytest.raises(tg.CompileError, match="made or seeded; do that outside"):
        tg.compile(f)(tg.ones(2))


def test_the_executor_is_chosen_by_name() -> None:
    f = tg.compile(lambda x: x.tanh() + 1, executor="numpy")
    assert f(tg.zeros(2)).tolist() == [1, 1]
    with pytest.raises(ValueError, match="executor is 'native', 'numpy' or None, got 'fast'"):
        tg.compile(lambda x: x, executor="fast")


def test_gradients_of_arguments_go_to_the_arguments_of_this_call() -> None:
    @tg.compile
    def f(x: tg.Tensor) -> tg.Tensor:
        (x * x).sum().backward()
        return x

    made = [tg.full((2,), float(n), requires_grad=True) for n in range(4)]
    for n, x in enumerate(made):
        assert f(x) is x
        assert x.grad is not None
        assert x.grad.tolist() == [2 * n, 2 * n]
    for n, x in enumerate(made):
        f(x)
        assert x.grad is not None
        assert x.grad.tolist() == [4 * n, 4 * n]


def test_a_compiled_method() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            self.w = nn.Parameter(tg.ones(2))

        @tg.compile
        def double(self, x: tg.Tensor) -> tg.Tensor:  # type: ignore[override]  # not Module's, of dtypes
            with tg.no_grad():
                return x * self.w * 2

    one, other = Model(), Model()
    other.w.data = tg.full((2,), 5.0)
    for _ in range(2):
        assert one.double(tg.ones(2)).tolist() == [2, 2]
        assert other.double(tg.ones(2)).tolist() == [10, 10]


def test_anomalies_are_looked_for_in_the_function_itself() -> None:
    f = tg.compile(lambda x: tg.log(x))
    f(tg.ones(2))
    with np.errstate(all="ignore"), tg.detect_anomaly(), pytest.raises(RuntimeError, match="log"):
        f(tg.tensor([-1.0, 1.0]))


def test_an_optimizer_that_has_forgotten_everything_begins_anew() -> None:
    _, optimizer, step = model_and_step()
    for _ in range(3):
        step(tg.ones(5, 3))
    optimizer.state = {}
    step(tg.ones(5, 3))
    assert optimizer.state[0]["step"] == 1


def test_minus_zero_is_a_number_of_its_own() -> None:
    f = tg.compile(lambda x, s: x * s)
    assert [np.signbit(f(tg.ones(1), s).numpy()[0]) for s in (0.0, -0.0)] == [False, True]


# --- checkpoint ---


def in_pieces(count: int, executor: str | None, compiled: bool = True) -> tuple[Any, Any, Any]:
    """A step of a network whose sequence is cut in pieces; the network, and the loss of two steps."""
    tg.manual_seed(0)
    model = nn.LSTM(6, 32, num_layers=2, dropout=0.5)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    x = tg.randn(64, 5, 6)

    def piece(x: tg.Tensor, h: tg.Tensor, c: tg.Tensor) -> Any:
        out, (h, c) = model(x, (h, c))
        return (out * out).sum(), h, c

    def step() -> tg.Tensor:
        h = c = tg.zeros(2, 5, 32)
        loss = tg.zeros(())
        for part in x.chunk(count):
            more, h, c = tg.checkpoint(piece, part, h, c)
            loss = loss + more
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    run = tg.compile(step, executor=executor) if compiled else step
    return model, run, [run().item() for _ in range(3)]


@pytest.mark.host("how much the host's plan of memory saves")
@pytest.mark.parametrize("executor", ["numpy", None])  # None: the native one, where that is installed
def test_a_checkpoint_saves_memory_and_changes_no_number(executor: str | None) -> None:
    (model, run, losses), (other, _, truth) = in_pieces(8, executor), in_pieces(8, None, compiled=False)
    np.testing.assert_allclose(losses, truth, rtol=1e-5)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-3, atol=1e-5)
    _, whole, _ = in_pieces(1, executor)
    (some,), (all_of_it,) = [
        [r._executor.plan for executables in f._cache.values() for r in executables] for f in (run, whole)
    ]
    assert some.peak < 0.5 * all_of_it.peak


def test_a_checkpoint_in_a_function_that_is_differentiated_outside() -> None:
    w = tg.randn(4, 4, requires_grad=True)
    x = tg.randn(3, 4, requires_grad=True)

    def f(x: tg.Tensor) -> Any:
        return tg.checkpoint(lambda x: (x @ w).tanh() @ w, x)

    run = tg.compile(f)
    for _ in range(2):
        found = []
        for function in (run, f):
            x.grad = w.grad = None
            function(x).sum().backward()
            found.append([grad_of(x), grad_of(w)])
        np.testing.assert_allclose(np.concatenate(found[0]), np.concatenate(found[1]), rtol=1e-5)
    backward = run.programs[0].backward
    assert backward is not None
    assert any(instr.op == "tanh" for instr in backward.instrs)  # again


@pytest.mark.parametrize("buffer", [False, True])
def test_a_checkpoint_notices_what_was_changed_before_the_backward_pass(buffer: bool) -> None:
    w = tg.randn(3, 3, requires_grad=not buffer)

    @tg.compile
    def f(x: tg.Tensor) -> None:
        y = tg.checkpoint(lambda a: (a @ w).tanh(), x).sum()
        with tg.no_grad():
            w.mul_(0.5)
        y.backward()

    with pytest.raises(RuntimeError, match="changed in place"):
        f(tg.randn(3, 3, requires_grad=True))


def test_a_checkpoint_made_outside_and_a_backward_pass_inside() -> None:
    x = tg.randn(3, requires_grad=True)
    y = tg.checkpoint(lambda a: a.tanh(), x).sum()
    f = tg.compile(lambda z: ((y * z).backward(retain_graph=True), z * 1)[1])
    assert f(tg.tensor(2.0)).item() == 2
    np.testing.assert_allclose(grad_of(x), 2 * (1 - np.tanh(x.detach().numpy()) ** 2), rtol=1e-5)


def test_a_checkpoint_that_fails_leaves_the_generator_as_it_was() -> None:
    w, fails = tg.ones(2, requires_grad=True), [False]

    def f(a: tg.Tensor) -> tg.Tensor:
        drawn = tg.rand(2)
        if fails[0]:
            raise ValueError("now")
        return a * drawn

    y = tg.checkpoint(f, w).sum()
    fails[0] = True
    tg.rand(5)  # so that drawing again ends elsewhere
    before = tg.default_generator.get_state()
    with pytest.raises(ValueError, match="now"):
        y.backward()
    assert tg.default_generator.get_state() == before
