"""A recording touches nothing outside: other threads, interrupts and forked processes find everything as it was."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import pytest

import nn
import tinygrad_seq as tg
from nn import optim
from tinygrad_seq.graph import Leaf, Value
from tinygrad_seq.graph.tracing_hook import tracers
from tinygrad_seq.tensor.rng import default_generator

from ..systems import posix


def trained() -> tuple[Any, Any, Any]:
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5), nn.Linear(3, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.1)

    def step(x: tg.Tensor) -> tg.Tensor:
        optimizer.zero_grad()
        loss: tg.Tensor = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    step(tg.ones(4, 2))
    return model, optimizer, step


def everything(model: Any, optimizer: Any) -> Any:
    grads = [p.grad.tolist() for p in model.parameters()]
    return [model.state_dict(), optimizer.state_dict(), grads, default_generator.get_state()]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, tg.Tensor):
        return bool((a == b).all())
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def interrupted(f: Any, at: int) -> bool:
    """Call f and interrupt it at that line of ours, counted from the start; whether it got that far."""
    lines = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal lines
        if "tinygrad_seq" not in frame.f_code.co_filename:
            return trace
        if event == "line":
            lines += 1
            if lines == at:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        f()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


@pytest.mark.parametrize("start", range(4))
def test_an_interrupt_at_any_line_of_a_recording_leaves_all_as_it_was(start: int) -> None:
    model, optimizer, step = trained()
    before, x = everything(model, optimizer), tg.ones(4, 2)
    at = 1 + start * 7
    for _ in range(40):
        whole = not interrupted(lambda: tg.compile(step, executor="numpy")(x), at)
        assert not tracers
        assert type(Value.__dict__["array"]).__name__ == type(Leaf.__dict__["_grad"]).__name__ == "member_descriptor"
        if whole or not same(everything(model, optimizer), before):
            break  # recorded, and replayed as a whole: test_interrupted_calls interrupts replays
        at += at // 3 + 1
    assert at > 1000
    assert all(type(p.array).__name__ == "ndarray" for p in model.parameters())


def test_other_threads_go_on_while_one_records() -> None:
    w = nn.Parameter(tg.zeros(3))
    seen: list[Any] = []
    inside, done = threading.Event(), threading.Event()

    def watch() -> None:
        inside.wait(10)
        with tg.no_grad():
            w.add_(1.0)
        seen.append((w + 1).tolist())
        seen.append(w.sum().item())
        done.set()

    def f(x: tg.Tensor) -> tg.Tensor:
        y: tg.Tensor = (w * x).sum()
        inside.set()
        done.wait(10)
        return y

    thread = threading.Thread(target=watch)
    thread.start()
    compiled = tg.compile(f)
    with tg.no_grad():
        compiled(tg.ones(3))
        thread.join()
        assert seen == [[2.0] * 3, 3.0]
        assert compiled(tg.ones(3)).item() == 3


def test_functions_that_call_each_other_do_not_wait_for_ever() -> None:
    w = nn.Parameter(tg.ones(2))
    functions: list[Any] = []

    def first(x: tg.Tensor) -> tg.Tensor:
        return functions[1](x) * 2 if len(x) % 2 else (x * w).sum()

    def second(x: tg.Tensor) -> tg.Tensor:
        return functions[0](x) * 3 if len(x) % 2 == 0 else (x * w.sum()).sum()

    functions += [tg.compile(first, executor="numpy"), tg.compile(second, executor="numpy")]

    def work(k: int) -> None:
        with tg.no_grad():
            for n in range(2, 8):
                functions[(k + n) % 2](tg.ones(n if n % 2 else 2))

    threads = [threading.Thread(target=work, args=(k,), daemon=True) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


@posix
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_is_forked_while_another_thread_is_inside() -> None:
    inside, done = threading.Event(), threading.Event()

    def f(x: tg.Tensor) -> tg.Tensor:
        inside.set()
        done.wait(10)
        return x * 2

    compiled = tg.compile(f, executor="numpy")
    thread = threading.Thread(target=lambda: compiled(tg.ones(2)))
    thread.start()
    assert inside.wait(10)
    child = os.fork()
    if child == 0:
        done.set()
        os._exit(0 if not tracers and compiled(tg.ones(3)).tolist() == [2, 2, 2] else 1)
    done.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
