"""What a compiled function cannot follow it notices or refuses: each case eagerly, and compiled, which may refuse."""

from __future__ import annotations

import pickle
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from nn import optim
from tinygrad_seq import CompileError
from tinygrad_seq.compiler.numpy.executor import NumpyExecutor

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]
Case = Callable[[Wrap], Any]

rate = 1.0
settings: dict[str, Any] = {"rate": 1.0, "sizes": [1, 2]}


def helper(x: tg.Tensor) -> tg.Tensor:
    return x * rate


class Config:
    scale = 1.0

    def __init__(self) -> None:
        self.rate = 1.0

    def scaled(self, x: tg.Tensor) -> tg.Tensor:
        return x * self.rate * self.scale


class Scaled(nn.Module):
    factor = 2.0

    def __init__(self) -> None:
        super().__init__()
        self.sizes = [1.0, 2.0]
        self.names = ("a", 3.0)
        self.cells = [ones(nn.Linear(1, 1, bias=False))]
        self.linear = nn.Linear(1, 1, bias=False)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.linear(x) * self.factor * sum(self.sizes) * self.names[1] * self.cells[0](x)


def ones(module: nn.Module) -> nn.Module:
    with tg.no_grad():
        for p in module.parameters():
            p.fill_(1.0)
    return module


def rounded(found: Any) -> Any:
    """Numbers to five digits, which is how far eager and compiled programs agree."""
    return (
        [rounded(x) for x in found]
        if isinstance(found, (list, tuple))
        else f"{found:.4g}"
        if isinstance(found, float)
        else found
    )


def each(f: Callable[..., Any], *calls: Callable[[], object]) -> list[Any]:
    """What f(1) gives at first, and after each of the changes."""
    x = tg.ones(1, 1)
    with tg.no_grad():
        found = [f(x).item(), f(x).item()]
        for change in calls:
            change()
            found += [f(x).item(), f(x).item()]
    return found


# --- what Python finds by name ---


def a_global_number(wrap: Wrap) -> Any:
    def change() -> None:
        global rate
        rate *= 0.25

    try:
        return each(wrap(lambda x: x * rate), change, change)
    finally:
        globals()["rate"] = 1.0


def a_global_number_of_a_function_that_is_called(wrap: Wrap) -> Any:
    def change() -> None:
        global rate
        rate *= 0.25

    try:
        return each(wrap(lambda x: helper(x) + 1), change)
    finally:
        globals()["rate"] = 1.0


def a_global_dictionary(wrap: Wrap) -> Any:
    try:
        f = wrap(lambda x: x * settings["rate"] * len(settings["sizes"]))
        return each(f, lambda: settings.update(rate=3.0), lambda: settings["sizes"].append(1))
    finally:
        settings.update(rate=1.0, sizes=[1, 2])


def a_number_in_a_closure(wrap: Wrap) -> Any:
    k = 1.0

    def change() -> None:
        nonlocal k
        k = 5.0

    return each(wrap(lambda x: x * k), change)


def a_list_in_a_closure(wrap: Wrap) -> Any:
    factors: list[Any] = [1.0, [2.0]]
    f = wrap(lambda x: x * factors[0] * factors[1][0])
    return each(f, lambda: factors.__setitem__(0, 7.0), lambda: factors[1].__setitem__(0, 3.0))


def an_attribute_of_an_object(wrap: Wrap) -> Any:
    config = Config()
    return each(wrap(lambda x: x * config.rate), lambda: setattr(config, "rate", 9.0))


def a_method_of_an_object(wrap: Wrap) -> Any:
    config = Config()
    return each(wrap(config.scaled), lambda: setattr(config, "rate", 9.0), lambda: setattr(config, "scale", 2.0))


def a_number_that_becomes_a_whole_one(wrap: Wrap) -> Any:
    config = Config()
    f = wrap(lambda x: (x.to(tg.int64) * config.rate).to(tg.float32) / 2)
    return each(f, lambda: setattr(config, "rate", 1), lambda: setattr(config, "rate", True))


def another_function_by_that_name(wrap: Wrap) -> Any:
    config: Any = Config()
    config.act = tg.tanh
    return each(wrap(lambda x: config.act(x)), lambda: setattr(config, "act", tg.exp))


def functions_of_one_factory(wrap: Wrap) -> Any:
    def scaling(k: float) -> tuple[Any, Any]:
        def scale(x: tg.Tensor) -> tg.Tensor:
            return x * k

        def change(new: float) -> None:
            nonlocal k
            k = new

        return scale, change

    (first, _), (second, change) = scaling(2.0), scaling(3.0)
    return each(wrap(lambda x: first(x) + second(x)), lambda: change(5.0))


def a_partial_function(wrap: Wrap) -> Any:
    config = Config()
    return each(wrap(partial(lambda c, x: x * c.rate, config)), lambda: setattr(config, "rate", 9.0))


def another_compiled_function(wrap: Wrap) -> Any:
    k = 1.0

    def change() -> None:
        nonlocal k
        k = 5.0

    inner = tg.compile(lambda x: x * k)
    return each(wrap(lambda x: inner(x) + 1), change)


# --- modules ---


def attributes_of_a_module(wrap: Wrap) -> Any:
    m = ones(Scaled())
    assert isinstance(m, Scaled)
    f = wrap(lambda x: m(x))
    return each(
        f,
        lambda: setattr(m, "factor", 3.0),
        lambda: m.sizes.append(4.0),
        lambda: setattr(m, "names", ("b", 5.0)),
        lambda: setattr(m, "unread", 5.0),
        lambda: m.cells.__setitem__(0, ones(nn.Linear(1, 1))),
        lambda: setattr(m, "linear", ones(nn.Linear(1, 1))),
    )


def a_default_of_a_class(wrap: Wrap) -> Any:
    m = ones(Scaled())
    try:
        return each(wrap(lambda x: m(x)), lambda: setattr(Scaled, "factor", 5.0))
    finally:
        Scaled.factor = 2.0


def another_forward(wrap: Wrap) -> Any:
    m, plain = ones(Scaled()), Scaled.forward

    def change() -> None:
        Scaled.forward = lambda self, x: self.linear(x)  # type: ignore[method-assign]

    try:
        return each(
            wrap(lambda x: m(x)), lambda: setattr(m, "forward", lambda x: x + 1), lambda: delattr(m, "forward"), change
        )
    finally:
        Scaled.forward = plain  # type: ignore[method-assign]


def a_cell_of_a_layer(wrap: Wrap) -> Any:
    m: Any = ones(nn.Recurrent(nn.RNNCell, 1, 1))

    def change() -> None:
        m.cells[0] = ones(nn.RNNCell(1, 1, bias=False))

    return each(wrap(lambda x: m(x[None])[0].sum()), change)


def containers_that_grow(wrap: Wrap) -> Any:
    m = nn.ModuleList([ones(nn.Linear(1, 1))])

    def f(x: tg.Tensor) -> tg.Tensor:
        for part in m:
            x = part(x)
        return x

    return each(wrap(f), lambda: m.append(ones(nn.Linear(1, 1))), lambda: m.insert(0, nn.Tanh()))


def hooks(wrap: Wrap) -> Any:
    m = ones(nn.Linear(1, 1))
    handles: list[Any] = []
    return each(
        wrap(lambda x: m(x)),
        lambda: handles.append(m.register_forward_hook(lambda module, args, output: output * 10)),
        lambda: handles.append(m.register_forward_pre_hook(lambda module, args: (args[0] + 1,))),
        lambda: handles[0].remove(),
    )


def an_attribute_that_is_assigned(wrap: Wrap) -> Any:
    m: Any = ones(Scaled())

    def f(x: tg.Tensor) -> tg.Tensor:
        m.calls = getattr(m, "calls", 0) + 1
        return m(x)

    return each(wrap(f)), m.calls


# --- looks at what was not looked at before ---


def a_write_to_what_was_captured(wrap: Wrap) -> Any:
    w = nn.Parameter(tg.ones(3))

    def f(x: tg.Tensor) -> tg.Tensor:
        w[0] = 0.0
        w.data[1] = x.sum()
        return w.sum() + x

    return [*each(wrap(f), lambda: w.data.fill_(5.0)), w.tolist()]


def captured_numbers(wrap: Wrap) -> Any:
    n = tg.tensor(2)
    return each(wrap(lambda x: x * n.item()), lambda: n.fill_(3))


def captured_lengths(wrap: Wrap) -> Any:
    n = tg.tensor(2)
    return each(wrap(lambda x: x * len(range(int(n)))), lambda: n.fill_(3))


def captured_operands_of_every_kind(wrap: Wrap) -> Any:
    w, index, mask = tg.arange(4.0), tg.tensor([0, 3]), np.array([True, False, True, False])

    def f(x: tg.Tensor) -> tg.Tensor:
        kept = w.masked_fill(tg.tensor(mask), 0.0) + tg.where(mask, w, 0.0) + w.index_fill(0, index, 9.0)
        return (
            (kept * x[0]).sum() + w[index].sum() + w.gather(0, index).sum() + w.scatter_add(0, index, tg.ones(2)).max()
        )

    def change() -> None:
        w.data = tg.full((4,), 5.0)

    return each(wrap(f), change, lambda: index.fill_(1))


# --- arguments ---


def numbers_of_numpy(wrap: Wrap) -> Any:
    f = wrap(lambda x, k: x * k[0] if isinstance(k, list) else x * k)
    numbers: list[Any] = [*np.linspace(0, 1, 3), np.int64(3), np.bool_(True), [np.float64(4)], [np.float64(5)]]
    return [f(tg.ones(1), k).item() for k in numbers]


def an_iterator(wrap: Wrap) -> Any:
    w = nn.Parameter(tg.zeros(1))

    def f(batches: Any) -> tg.Tensor:
        for x in batches:
            w.data.add_(x)
        return w

    f = wrap(f)
    return [f(iter([tg.ones(1), tg.ones(1)])).tolist() for _ in range(3)]


def an_array_that_is_changed(wrap: Wrap) -> Any:
    def f(a: Any) -> Any:
        a += 1
        a[0] *= 2
        return a.mean() + np.exp(a)

    f, a = wrap(f), np.ones(2, np.float32)
    return [np.asarray(f(a)).tolist() for _ in range(3)], a.tolist()


def an_array_on_the_left(wrap: Wrap) -> Any:
    w = nn.Parameter(tg.ones(2))
    f = wrap(lambda a: (a * w).sum() + (a - w).sum() + (isinstance(a, np.ndarray) and 1))
    return [f(np.full(2, float(k), np.float32)).item() for k in range(3)]


def two_arrays_of_one_memory(wrap: Wrap) -> Any:
    memory = bytearray(8)
    a, b = np.frombuffer(memory, np.float32), np.frombuffer(memory, np.float32)

    def f(a: Any, b: Any) -> Any:
        a += 1
        return b * 2

    f = wrap(f)
    return [np.asarray(f(a, b)).tolist() for _ in range(3)]


def containers_of_other_kinds(wrap: Wrap) -> Any:
    Pair = namedtuple("Pair", "a b")

    class Sum(Pair):
        def __new__(cls, a: Any) -> Sum:
            return super().__new__(cls, a, a + 1)

    def f(t: Any) -> Any:
        return (t["a"] if isinstance(t, dict) else t.a) * 2

    f = wrap(f)
    given: list[Any] = [defaultdict(int, a=tg.ones(1)), OrderedDict(a=tg.ones(1)), Sum(tg.ones(1))]
    return [f(t).item() for t in given for _ in range(2)]


def a_packed_sequence(wrap: Wrap) -> Any:
    lstm = ones(nn.LSTM(1, 2))
    packed = nn.utils.rnn.pack_padded_sequence(tg.ones(3, 2, 1), [3, 2])
    f = wrap(lambda p: lstm(p)[0].data.sum())
    return [round(f(packed).item(), 5) for _ in range(3)]


# --- gradients ---


def freezing_and_back(wrap: Wrap) -> Any:
    m: Any = ones(nn.Linear(2, 1))

    def f(x: tg.Tensor) -> None:
        m.zero_grad()
        m(x).sum().backward()

    f, found = wrap(f), []
    for frozen in (False, False, True, False, True, False):
        m.weight.requires_grad_(not frozen)
        f(tg.ones(2))
        found.append(None if m.weight.grad is None else m.weight.grad.tolist())
    return found


def clearing_a_gradient_that_was_not_there(wrap: Wrap) -> Any:
    w = nn.Parameter(tg.ones(1))

    def f(x: tg.Tensor) -> tg.Tensor:
        w.grad = None
        return x * 2

    f = wrap(f)
    f(tg.ones(1)), f(tg.ones(1))
    w.sum().backward()
    f(tg.ones(1))
    return w.grad is None


def a_hook_of_a_result(wrap: Wrap) -> Any:
    seen: list[float] = []

    def f(x: tg.Tensor) -> Any:
        y = x * 2
        y.register_hook(lambda g: seen.append(g.item()))
        return y, y * 3

    x = tg.ones((), requires_grad=True)
    y, z = wrap(f)(x)
    (y + z).backward()
    return seen


def grad_mode_left_switched(wrap: Wrap) -> Any:
    def f(x: tg.Tensor) -> tg.Tensor:
        tg.set_grad_enabled(False)
        return x * 2

    found = []
    try:
        f = wrap(f)
        for _ in range(3):
            tg.set_grad_enabled(True)
            f(tg.ones(1))
            found.append(tg.is_grad_enabled())
    finally:
        tg.set_grad_enabled(True)
    return found


def a_squeeze_in_place(wrap: Wrap) -> Any:
    w = tg.ones(1, 2)

    def f(x: tg.Tensor) -> tg.Tensor:
        w.squeeze_()
        return w * x

    f = wrap(f)
    return [f(tg.ones(1)).shape for _ in range(3)], w.shape


def requiring_a_gradient_inside(wrap: Wrap) -> Any:
    w = tg.ones(1)

    def f(x: tg.Tensor) -> tg.Tensor:
        w.requires_grad_()
        return (w * x).detach()

    f = wrap(f)
    f(tg.ones(1))
    w.requires_grad_(False)
    f(tg.ones(1))
    return w.requires_grad


# --- optimizers ---


def trained(wrap: Wrap, *changes: Callable[[Any, list[nn.Parameter]], object]) -> Any:
    parameters = [nn.Parameter(tg.ones(2)), nn.Parameter(tg.ones(2))]
    o = optim.SGD(parameters[:1], lr=0.1, momentum=0.5)

    def f() -> tg.Tensor:
        o.zero_grad()
        ((parameters[0] * parameters[1]) ** 2).sum().backward()
        o.step()
        return tg.tensor(o.param_groups[0]["lr"])

    f, found = wrap(f), []
    for change in (lambda *_: None, *changes):
        change(o, parameters)
        found += [round(f().item(), 5) for _ in range(3)]
    return found, [[round(x, 4) for x in p.tolist()] for p in parameters]


def a_group_that_is_added(wrap: Wrap) -> Any:
    return trained(wrap, lambda o, ps: o.add_param_group({"params": [ps[1]], "lr": 0.01}))


def settings_that_change(wrap: Wrap) -> Any:
    def rate(o: Any, _: Any) -> None:
        o.param_groups[0]["lr"] = 0.05

    def decay(o: Any, _: Any) -> None:
        o.param_groups[0]["weight_decay"] = 0.1

    return trained(wrap, rate, decay)


def a_rate_that_a_library_reads(wrap: Wrap) -> Any:
    w = nn.Parameter(tg.ones(1))
    o = optim.SGD([w], lr=0.25)

    def f(x: tg.Tensor) -> tg.Tensor:
        lr = o.param_groups[0]["lr"]
        return x * float(np.sqrt(lr)) + round(lr, 1) + x * lr

    return each(wrap(f), lambda: o.param_groups[0].update(lr=0.04))


CASES = [
    case for name, case in list(globals().items())
    if getattr(case, "__module__", "") == __name__ and getattr(case, "__annotations__", {}).get("wrap") == "Wrap"
    and name != "trained"
]  # fmt: skip
REFUSED = [
    an_attribute_that_is_assigned, captured_numbers, captured_lengths, an_iterator, a_hook_of_a_result,
    grad_mode_left_switched, a_packed_sequence, a_squeeze_in_place, requiring_a_gradient_inside,
    two_arrays_of_one_memory,
]  # fmt: skip


@pytest.mark.parametrize("executor", ["numpy", None])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_as_eagerly_or_refused(case: Case, executor: str | None) -> None:
    if case in REFUSED:
        with pytest.raises((CompileError, RuntimeError), match=r"^compile: "):
            case(lambda f: tg.compile(f, executor=executor))
    else:
        compiled, eager = case(lambda f: tg.compile(f, executor=executor)), case(lambda f: f)
        assert rounded(compiled) == rounded(eager)


@pytest.mark.parametrize("executor", ["numpy", None])
@pytest.mark.parametrize("case", [case for case in CASES if case not in REFUSED], ids=lambda case: case.__name__)
def test_verified(case: Case, executor: str | None) -> None:
    compiled = case(lambda f: tg.compile(f, executor=executor, mode="verify"))
    assert rounded(compiled) == rounded(case(lambda f: f))


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
