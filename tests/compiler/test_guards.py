"""What a compiled function cannot follow it notices or refuses: each case eagerly, and compiled, which may refuse."""

from __future__ import annotations

import pickle
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from nn import optim
from tinygrad_seq import CompileError
from tinygrad_seq.compiler.numpy.executor import NumpyExecutor

from . import guard_cases, replay_cases
from .guard_cases import Case, Config, Scaled, ones


def rounded(found: Any) -> Any:
    """Numbers to five digits, which is how far eager and compiled programs agree."""
    return (
        [rounded(x) for x in found]
        if isinstance(found, (list, tuple))
        else f"{found:.4g}"
        if isinstance(found, float)
        else found
    )


CASES = [
    case for module in (guard_cases, replay_cases) for case in vars(module).values()
    if getattr(case, "__annotations__", None) == {"wrap": "Wrap", "return": "Any"}
]  # fmt: skip
ON_HOST = [replay_cases.captured_operands_of_every_kind, replay_cases.an_array_on_the_left]
REFUSED = [
    guard_cases.an_attribute_that_is_assigned, replay_cases.captured_numbers, replay_cases.captured_lengths,
    replay_cases.an_iterator, replay_cases.a_hook_of_a_result, replay_cases.grad_mode_left_switched,
    replay_cases.a_packed_sequence, replay_cases.a_squeeze_in_place, replay_cases.requiring_a_gradient_inside,
    replay_cases.two_arrays_of_one_memory,
]  # fmt: skip


def marked(cases: list[Case]) -> list[Any]:
    host = pytest.mark.host("NumPy's arrays beside tensors")
    return [pytest.param(case, marks=[host] if case in ON_HOST else [], id=case.__name__) for case in cases]


@pytest.mark.parametrize("executor", ["numpy", None])
@pytest.mark.parametrize("case", marked(CASES))
def test_as_eagerly_or_refused(case: Case, executor: str | None) -> None:
    if case in REFUSED:
        with pytest.raises((CompileError, RuntimeError), match=r"^compile: "):
            case(lambda f: tg.compile(f, executor=executor))
    else:
        compiled, eager = case(lambda f: tg.compile(f, executor=executor)), case(lambda f: f)
        assert rounded(compiled) == rounded(eager)


@pytest.mark.parametrize("executor", ["numpy", None])
@pytest.mark.parametrize("case", marked([case for case in CASES if case not in REFUSED]))
def test_verified(case: Case, executor: str | None) -> None:
    compiled = case(lambda f: tg.compile(f, executor=executor, mode="verify"))
    assert rounded(compiled) == rounded(case(lambda f: f))


@pytest.mark.host("spoils an executor of the host")
def test_what_a_program_does_differently_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    w = nn.Parameter(tg.ones(3))
    optimizer = optim.SGD([w], lr=0.5)

    def f(x: tg.Tensor) -> tg.Tensor:
        optimizer.zero_grad()
        loss: tg.Tensor = (w * x).sum()
        loss.backward()
        optimizer.step()
        return loss

    run = tg.compile(f, mode="verify", executor="numpy")
    for k in range(3):
        run(tg.full((3,), float(k)))
    plain = NumpyExecutor.run

    def wrong(self: Any, *given: Any) -> Any:
        values = plain(self, *given)
        for y in values.values():
            if y.shape == (3,) and y.flags.writeable:
                y[1] += 0.5
        return values

    monkeypatch.setattr(NumpyExecutor, "run", wrong)
    with pytest.raises(CompileError, match=r"f and its program differ: .* is .*, and should be"):
        run(tg.ones(3))


def test_what_a_refused_call_changed_is_put_back() -> None:
    seen, count, config, model = [1.0, [2.0]], 0, Config(), Scaled()
    optimizer = optim.Adam(model.parameters())

    def f(x: tg.Tensor, way: int) -> tg.Tensor:
        nonlocal count
        optimizer.zero_grad()
        loss: tg.Tensor = model(x).sum()
        loss.backward()
        optimizer.step()  # the first one, after which the function would run once more
        if way == 0:
            seen.append(5.0)
        elif way == 1:
            seen[1].append(5.0)  # type: ignore[attr-defined]
        elif way == 2:
            count += 1
        elif way == 3:
            config.rate = 7.0
        elif way == 4:
            model.factor = 7.0
        else:
            model.factor = 7.0
            with suppress(Exception):
                loss.item()
        return loss

    before = [p.tolist() for p in model.parameters()]
    for way in range(6):
        with pytest.raises(CompileError):
            tg.compile(f)(tg.ones(1, 1), way)
        assert (seen, count, config.rate, model.factor) == ([1.0, [2.0]], 0, 1.0, 2.0)
        assert [p.tolist() for p in model.parameters()] == before
        assert not optimizer.state


def test_arrays_refuse_what_numpy_refuses() -> None:
    def fraction(a: Any) -> Any:
        a += 0.5
        return a

    def longer(a: Any) -> Any:
        a += np.ones((3, 2))
        return a

    for f, a in ((fraction, np.ones(2, np.int64)), (longer, np.ones(2))):
        with pytest.raises(TypeError, match="does not fit in place"):
            tg.compile(f)(a)
        assert a.tolist() == [1, 1]
    with pytest.raises(CompileError, match="given to the method clip"):
        tg.compile(lambda a, b: a.clip(b, 2.0))(np.ones(2), np.ones(2))


def test_a_refusal_stays_one() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        try:
            big = x.sum().item() > 0
        except Exception:
            big = False
        return x * 2 if big else x

    with pytest.raises(CompileError, match="Python asks for the number"):
        tg.compile(f)(tg.ones(2))


def test_a_module_that_was_not_read_otherwise_is_not_recorded_again() -> None:
    m: Any = ones(Scaled())
    f = tg.compile(lambda x: m(x))
    for k in range(6):
        m.hidden = tg.full((1,), float(k))  # as a training loop keeps its state there
        m.last = k
        f(tg.ones(1, 1))
    assert len(f.programs) == 1


@tg.compile
def twice(x: tg.Tensor) -> tg.Tensor:
    return x * 2


def test_a_decorated_function_is_pickled_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(twice)) is twice


def test_data_after_a_change_in_place() -> None:
    p = nn.Parameter(tg.ones(2))

    def f(x: tg.Tensor) -> tg.Tensor:
        with tg.no_grad():
            p.mul_(0.5)
        p.data = x.detach() * 3
        return x + p.detach()

    compiled = tg.compile(f, mode="verify")
    for k in range(3):
        assert compiled(tg.full((2,), float(k))).tolist() == [4.0 * k] * 2
        assert p.tolist() == [3.0 * k] * 2


def test_memory_as_an_eager_call_has_it() -> None:
    """Of a clone of a strided tensor the rows are a view, compiled too, and what is written there is seen."""
    x = tg.arange(12.0).reshape(3, 4)

    def f(x: tg.Tensor) -> tg.Tensor:
        y = x[:, ::2].clone()
        y.reshape(-1)[:2].mul_(10.0)
        z = x.transpose(0, 1).contiguous()
        z.view(-1)[0] = 7.0
        return tg.cat([y.reshape(-1), z.reshape(-1)])

    compiled = tg.compile(f)
    for _ in range(3):
        assert compiled(x).tolist() == f(x).tolist()


class Trainer:
    def __init__(self) -> None:
        self.w, self.steps = tg.ones(2), 0
        self.kept: Any = None
        self.carried: Any = None

    def step(self, x: tg.Tensor) -> tg.Tensor:
        return x * self.w if self.carried is None else x * self.w * 2


def test_attributes_that_the_function_does_not_look_at() -> None:
    """An object's tensors may be others at each call, as long as the program was made without them."""
    trainer = Trainer()
    compiled = tg.compile(trainer.step)
    for k in range(5):
        trainer.kept, trainer.steps = compiled(tg.ones(2)), k
        assert trainer.kept.tolist() == [1.0, 1.0]
    assert len(compiled.programs) == 1
    for k in range(5):
        trainer.carried = tg.full((2,), float(k))  # of which the function asks no more than whether it is there
        assert compiled(tg.ones(2)).tolist() == [2.0, 2.0]
    assert len(compiled.programs) == 2
    trainer.w = tg.full((2,), 3.0)
    assert compiled(tg.ones(2)).tolist() == [6.0, 6.0]


class Switched:
    factor = 2.0

    def __init__(self) -> None:
        self.other = 0.0

    def scaled(self, x: tg.Tensor) -> tg.Tensor:
        return x * self.factor


def test_an_attribute_that_comes_as_another_one_goes() -> None:
    """An object has as many attributes as before, and one of them is its class's no longer."""
    switched = Switched()
    compiled = tg.compile(switched.scaled)
    assert compiled(tg.ones(1)).tolist() == [2.0]
    del switched.other
    switched.factor = 3.0
    assert compiled(tg.ones(1)).tolist() == [3.0]

    model = nn.Sequential(nn.Identity())
    setattr(model, "note", 1)  # noqa: B010
    f = tg.compile(lambda x: sum((part(x) for part in model.children()), x))
    assert f(tg.ones(1)).tolist() == [2.0]
    delattr(model, "note")
    model.add = nn.Identity()
    assert f(tg.ones(1)).tolist() == [3.0]
