"""Cases of tensors, arguments, gradients and optimizers that are others at a later call: see `guard_cases`."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np

import nn
import tinygrad_seq as tg
from nn import optim

from .guard_cases import Wrap, each, ones

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


def a_gradient_that_is_held(wrap: Wrap) -> Any:
    """What holds a gradient sees what is added to it, as in PyTorch."""
    w = nn.Parameter(tg.ones(3))
    w.grad = tg.ones(3)

    def f(x: tg.Tensor) -> Any:
        held: Any = w.grad
        (w * x).sum().backward()
        halved = held.mul_(0.5)
        (w * x).sum().backward()
        return held * 1, halved * 1, tg.stack([p.grad for p in [w] if p.grad is not None])

    f = wrap(f)
    return [[y.tolist() for y in f(tg.ones(3) * k)] for k in range(4)]


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
