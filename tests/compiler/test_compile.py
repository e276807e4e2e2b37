"""`tg.compile` as its users meet it: what it captures, when it records anew, and what there is to look at."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from nn import optim
from tinygrad_seq.compiler import compiled as module

from .training_step import equal, model_and_step

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


def test_captured_tensors_that_share_an_array_until_one_is_replaced() -> None:
    a = tg.ones(2)
    b = a.detach()
    f = tg.compile(lambda: a + 10 * b)
    assert f().tolist() == [11, 11]
    b.data = tg.zeros(2)
    assert f().tolist() == [1, 1]
    b.data = a
    assert f().tolist() == [11, 11]


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


# --- several threads ---


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


def test_the_executor_is_chosen_by_name() -> None:
    f = tg.compile(lambda x: x.tanh() + 1, executor="numpy")
    assert f(tg.zeros(2)).tolist() == [1, 1]
    with pytest.raises(ValueError, match="executor is 'native', 'numpy' or None, got 'fast'"):
        tg.compile(lambda x: x, executor="fast")


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
