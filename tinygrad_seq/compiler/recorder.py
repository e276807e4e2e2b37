"""Watching one call of a function: what it computes, what it takes from outside, and what it leaves there.

While it watches, every tensor that takes part holds a `Traced` in the place of its array. Nothing outside is written:
when the function is done, or has failed, all tensors, gradients, optimizers and generators are put back as they were,
and what the function meant to change is known as a list of stores.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from typing import Any
from weakref import ref

from ..backend import SCALAR, Array, backend_of, is_array
from ..graph import Application, Leaf, Output, Value
from ..memory import owner_of
from ..recording import CompileError, active
from .home import Home
from .operations import evaluate
from .places import (
    argument_grad_array,
    grad_array,
    offset_setter,
    setting_number,
    state_array,
    state_number,
    state_setter,
)
from .program import Instr, Number, Program, Source, Var
from .traced import LiveNumber, Traced, enroll

LIVE_SETTINGS = ("lr", "momentum", "betas")  # of an optimizer's groups: what schedulers change between steps
_OURS = (__file__.rpartition("tinygrad_seq")[0] + "tinygrad_seq", __file__.rpartition("tinygrad_seq")[0] + "nn")


class Unsteady(Exception):
    """This call is not like those that will follow, as an optimizer's first step: it is not worth recording."""


class Recorder(Home):
    """Records one call.

    Attributes:
        program: what was recorded.
        guards: what must be as it was for the program to be right: functions that say whether it is.
        commits: for LiveNumbers that go somewhere: where to, and which.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.program = Program()
        self.guards: list[Callable[[], bool]] = []
        self.commits: list[tuple[Callable[[Any], None], Number]] = []
        self.backend = enroll(self)
        self._thread = threading.get_ident()
        self._made: list[ref[Traced]] = []
        self._arrays: dict[int, tuple[Array, Traced]] = {}  # from outside, by identity
        self._initial: dict[Var, tuple[Traced, Array]] = {}
        self._tensors: list[tuple[Value, Array, Any, Var]] = []
        self._leaves: dict[int, tuple[Leaf, Any, bool]] = {}
        self._argument_leaves: dict[int, int] = {}  # of the arguments that require a gradient, which is whose
        self._optimizers: list[tuple[Any, dict[Any, Any], dict[Any, Any]]] = []
        self._generators: dict[int, tuple[Any, tuple[int, int], LiveNumber, LiveNumber]] = {}
        self._modules: dict[int, Any] = {}

    # --- operations ---

    def mine(self) -> bool:
        """Whether this is the thread whose call is watched."""
        return threading.get_ident() == self._thread

    def emit(self, op: str, *args: Any, **params: Any) -> Traced:
        """Compute an operation, and write it down unless it will be the same every time."""
        given, values, constant = [], [], op not in ("require", "random_words")
        for a in args:
            if type(a) is Traced or is_array(a):
                a = self.traced(a)
                if a.viewed is not None and a.viewed[0].var is not a.viewed[1]:
                    a._refuse("an array was written to after a view of it was taken", "take the view afterwards")
                given.append(a.var)
                values.append(a.value)
                constant = constant and a.var in self.program.constants
            elif isinstance(a, LiveNumber):
                given.append(a.place)
                values.append(float(a))
                constant = False
            else:
                given.append(a)
                values.append(a)
        value = evaluate(op, values, params)
        if constant:
            return self.constant(value)
        out = self.program.new(value.shape, value.dtype)
        self.program.instrs.append(Instr(op, tuple(given), params, out, self.line()))
        view = op in ("slice", "transpose", "reshape") and type(args[0]) is Traced
        return self._result(value, out, (args[0], args[0].var) if view else None)

    def _result(self, value: Array, out: Var, viewed: tuple[Traced, Var] | None = None) -> Traced:
        made = Traced(self, value, out, viewed)
        self._made.append(ref(made))
        return made

    def constant(self, array: Array) -> Traced:
        return Traced(self, array, self.program.constant(array))

    def is_constant(self, x: Any) -> bool:
        return not isinstance(x, Traced) or x.var in self.program.constants

    def line(self) -> str:
        """Where in the user's code we are."""
        frame: Any = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename.startswith(_OURS):
            frame = frame.f_back
        return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""

    # --- numbers ---

    def number(self, value: Any, function: Callable[..., Any], *args: Any) -> LiveNumber:
        """A number that is worked out at each call."""
        self.program.numbers.append((function, tuple([a.place if isinstance(a, LiveNumber) else a for a in args])))
        live = LiveNumber(value)
        live.place, live.recorder = Number(len(self.program.numbers) - 1), self
        return live

    def decided(self, live: LiveNumber | None, function: Callable[..., Any], outcome: bool, args: Any = ()) -> bool:
        """Python decided something by a number: the program is right as long as it would decide so again."""
        given = (live,) if live is not None else args
        place = self.number(float(outcome), function, *given).place
        self.program.decisions.append((place, outcome))
        return outcome

    # --- what comes from outside ---

    def traced(self, x: Any) -> Traced:
        """An array as one under observation."""
        if type(x) is Traced:
            return x
        if isinstance(x, SCALAR) or not is_array(x):
            return self.made(x)
        known = self._arrays.get(id(x))
        return known[1] if known is not None else self._source(x, Source("a captured array", lambda _args: x))

    def given(self, x: Any, i: int) -> Any:
        """The i-th of the arguments."""
        if isinstance(x, Value):
            self.touch(x, f"argument {i}", lambda args: args[i].array)
            if isinstance(x.node, Leaf):
                self._argument_leaves.setdefault(id(x.node), i)
            return x
        return self._argument(x, i) if is_array(x) and not isinstance(x, SCALAR) else x

    def _argument(self, array: Array, i: int) -> Traced:
        known = self._arrays.get(id(array))
        read = lambda args: args[i]  # noqa: E731
        return known[1] if known is not None else self._source(array, Source(f"argument {i}", read, moves=True))

    def _source(self, array: Array, source: Source) -> Traced:
        self.settle(backend_of(array), backend_of(array).device_name(array), f"{source.name} lives")
        var = self.program.new(array.shape, array.dtype)
        traced = Traced(self, array, var)
        self.program.sources[var] = source
        self._arrays[id(array)] = (array, traced)
        self._initial[var] = (traced, array)
        return traced

    def captured(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The operands of a primitive, all under observation."""
        if not self.mine():
            return inputs
        for x in inputs:
            if isinstance(x, Value):
                if type(x.array) is not Traced:
                    self.touch(x)
            elif is_array(x) and not isinstance(x, SCALAR):
                return tuple([self.traced(y) if is_array(y) and not isinstance(y, SCALAR) else y for y in inputs])
        return inputs

    def touch(
        self, tensor: Value, name: str = "a captured tensor", read: Callable[[list[Any]], Any] | None = None
    ) -> None:
        """Put a tensor under observation."""
        array = tensor.array
        if type(array) is Traced:
            return
        known = self._arrays.get(id(array))
        if known is None:
            traced = self._source(
                array, Source(name, read or (lambda _args: tensor.array), name.startswith("argument"))
            )
        else:
            traced = known[1]
        self._tensors.append((tensor, array, tensor.node, traced.var))
        tensor.array = traced

    def reads_grad(self, leaf: Leaf, writes: bool = False) -> None:
        """A leaf's gradient is about to be looked at, or replaced."""
        if self.mine() and id(leaf) not in self._leaves:
            self._leaves[id(leaf)] = (leaf, leaf.grad, writes)
            if leaf.grad is not None and not writes:
                place = self._argument_leaves.get(id(leaf))
                read = grad_array(leaf) if place is None else argument_grad_array(place)
                self.touch(leaf.grad, "a gradient", read)

    def module(self, module: Any) -> None:
        """A module takes part: its switches, such as `training`, must stay as they are."""
        if not self.mine() or id(module) in self._modules:
            return
        self._modules[id(module)] = module
        settings = {k: v for k, v in vars(module).items() if isinstance(v, (bool, int, float, str, type(None)))}
        settings["training"] = module.training

        def unchanged() -> bool:
            return all(getattr(module, k, None) == v for k, v in settings.items())

        self.guards.append(unchanged)

    def optimizer(self, optimizer: Any) -> None:
        """An optimizer is about to take a step."""
        if not self.mine():
            return
        if any(known is optimizer for known, _, _ in self._optimizers):
            raise CompileError(f"compile: an optimizer takes two steps in one call ({self.line()}); compile one step")
        before = {number: dict(state) for number, state in optimizer.state.items()}
        live: dict[Any, dict[str, Any]] = {}
        for number, state in before.items():
            live[number] = {}
            for key, entry in state.items():
                if isinstance(entry, Value):
                    self.touch(entry, f"{key} of parameter {number}", state_array(optimizer, number, key))
                elif isinstance(entry, (int, float)) and not isinstance(entry, bool):
                    entry = self.number(entry, state_number(optimizer, number, key))
                elif entry is not None:
                    raise CompileError(
                        f"compile: {type(optimizer).__name__} keeps a {type(entry).__name__} in its state, which "
                        f"cannot be recorded; call its step() outside ({self.line()})"
                    )
                live[number][key] = entry
        self._optimizers.append((optimizer, before, {}))
        optimizer.state = live

    def settings(self, optimizer: Any, group: dict[str, Any]) -> dict[str, Any]:
        """A group of an optimizer, with live numbers for what schedulers change."""
        if not self.mine():
            return group
        where = next(i for i, g in enumerate(optimizer.param_groups) if g is group)
        memo = self._optimizers[-1][2]
        if where not in memo:
            live = dict(group)
            fixed = {k: v for k, v in group.items() if k not in (*LIVE_SETTINGS, "params", "param_names")}
            for key in LIVE_SETTINGS:
                value = group.get(key)
                if isinstance(value, (tuple, list)):
                    live[key] = tuple(
                        [self.number(v, setting_number(optimizer, where, key, i)) for i, v in enumerate(value)]
                    )
                elif value is not None:
                    live[key] = self.number(value, setting_number(optimizer, where, key))
            memo[where] = (live, dict(group))
            count = len(group["params"])

            def unchanged() -> bool:
                now = optimizer.param_groups[where]
                optimizer._check(now)
                return len(now["params"]) == count and all(now[k] == v for k, v in fixed.items())

            self.guards.append(unchanged)
        return memo[where][0]

    def seeded(self) -> None:
        """A generator is made or seeded, which would have to be done again at each call."""
        if self.mine():
            raise CompileError(f"compile: a generator is made or seeded; do that outside ({self.line()})")

    def words(self, generator: Any, count: int, target: Any) -> Traced:
        """The next random words of a generator."""
        known = self._generators.get(id(generator))
        if known is None:
            seed = self.number(generator.seed, lambda: generator.seed)
            start = self.number(generator.offset, lambda: generator.offset)
            known = self._generators[id(generator)] = (generator, generator.get_state(), seed, start)
        _, (_, first), seed, start = known
        moved = generator.offset - first
        self.settle(target.backend_module, str(target), "random numbers are drawn")
        drawn = self.home.random_words(generator.seed, generator.offset, count, self.index)
        place = self.number(generator.offset, lambda offset: offset + moved, start).place
        out = self.program.new(drawn.shape, drawn.dtype)
        params = {"count": count, "backend": target.backend_module, "index": target.index}
        self.program.instrs.append(Instr("random_words", (seed.place, place), params, out, self.line()))
        generator.offset += (count + 7) // 8
        return self._result(drawn, out)

    # --- the end ---

    def restore(self) -> None:
        """Put everything outside back as it was before the call."""
        for tensor, array, node, _ in reversed(self._tensors):
            tensor.array, tensor.node = array, node
        for leaf, grad, _ in self._leaves.values():
            leaf.grad = grad
        for optimizer, before, _ in self._optimizers:
            optimizer.state = before
        for generator, state, _, _ in self._generators.values():
            generator.set_state(state)

    def let_go(self) -> None:
        """Forget all arrays. A tensor under observation that somebody still has gets the numbers of this call.

        Raises:
            CompileError: if there is one, for a replay would not put another one there.
        """
        lines = {instr.out: instr.line for instr in self.program.instrs}
        self._arrays.clear()
        self._initial.clear()
        self._tensors.clear()
        if all(made() is None for made in self._made):
            return
        gc.collect()
        left = [traced for made in self._made if (traced := made()) is not None]
        for holder in gc.get_referrers(*left) if left else ():
            if issubclass(type(holder), Value):  # not isinstance: some objects answer that with a warning
                holder.array = holder.array.value
        kept = next((traced for traced in left if traced.var in lines), None)
        if kept is not None:
            raise CompileError(
                f"compile: {self.name} keeps a tensor of shape {kept.shape} in a list, an attribute or a global, "
                f"which a replay would not do again; return it instead ({lines[kept.var]})"
            )

    def finish(self) -> tuple[list[tuple[Source, Var]], list[tuple[Leaf | int, Var | None]]]:
        """What the call meant to leave outside: new numbers for sources, and gradients; then `restore`.

        Raises:
            Unsteady: if an optimizer has begun to remember something, so that the next call will differ.
            CompileError: if the call changes what cannot be changed at a replay.
        """
        stores = self._stores()
        grads: list[tuple[Leaf | int, Var | None]] = []
        for leaf, before, written in self._leaves.values():
            after = leaf.grad
            owner = self._argument_leaves.get(id(leaf), leaf)  # an argument is another one at each call
            if not written and owner is leaf:
                missing = before is None
                self.guards.append(lambda leaf=leaf, missing=missing: (leaf.grad is None) == missing)  # type: ignore[misc]
            if after is before and (after is None or type(after.array) is not Traced):
                continue
            if after is None:
                grads.append((owner, None))
            elif isinstance(after.node, (Application, Output)):
                raise CompileError("compile: a gradient that has a graph of its own (create_graph=True) stays in .grad")
            else:
                grads.append((owner, self.traced(after.array).var))
        for generator, (_, first), _, start in self._generators.values():
            moved = generator.offset - first
            place = self.number(0, lambda offset, moved=moved: offset + moved, start).place
            self.commits.append((offset_setter(generator), place))
        return stores, grads

    def _stores(self) -> list[tuple[Source, Var]]:
        stores: dict[Var, tuple[Source, Var]] = {}
        for tensor, _, _, var in self._tensors:
            if type(tensor.array) is Traced and tensor.array.var is not var:
                stores[var] = (self.program.sources[var], tensor.array.var)
        for var, (traced, _) in self._initial.items():
            if traced.var is not var:
                stores[var] = (self.program.sources[var], traced.var)
        for optimizer, before, groups in self._optimizers:
            self._steady(optimizer, before, groups)
            for number, state in optimizer.state.items():
                for key, after in state.items():
                    old = before[number][key]
                    if isinstance(after, LiveNumber):
                        self.commits.append((state_setter(optimizer, number, key), after.place))
                    elif isinstance(old, Value) and isinstance(after, Value):
                        var = next(v for t, _, _, v in self._tensors if t is old)
                        new = self.traced(after.array)
                        if new.var is not var:
                            stores[var] = (self.program.sources[var], new.var)
        owners: dict[int, int] = {}
        for array, _ in self._arrays.values():
            owners[id(owner_of(array))] = owners.get(id(owner_of(array)), 0) + 1
        for var in stores:
            if owners[id(owner_of(self._initial[var][1]))] > 1:
                raise CompileError(
                    f"compile: {self.name} changes {self.program.sources[var].name} in place, and uses another tensor "
                    "that shares its memory, whose numbers would change too; use one of them alone, or a clone()"
                )
        return list(stores.values())

    def _steady(self, optimizer: Any, before: dict[Any, Any], groups: dict[Any, Any]) -> None:
        for number, state in optimizer.state.items():
            old = before.get(number)
            if old is None or old.keys() != state.keys():
                raise Unsteady
            for key, value in state.items():
                if (
                    isinstance(value, Value)
                    and isinstance(old[key], Value)
                    and value.array.shape == old[key].array.shape
                ):
                    continue
                if isinstance(value, LiveNumber) or value is old[key]:
                    continue
                raise Unsteady
        for where, (_, then) in groups.items():
            if any(optimizer.param_groups[where].get(k) != then.get(k) for k in LIVE_SETTINGS):
                raise CompileError(
                    f"compile: {self.name} changes a setting of its optimizer, which a replay would not; call "
                    "scheduler.step() outside"
                )


class Watch:
    """`with Watch(recorder):` records what happens inside, in this thread; afterwards all is as it was before."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def __enter__(self) -> Recorder:
        active.append(self.recorder)
        return self.recorder

    def __exit__(self, *_: object) -> None:
        active.pop()
        self.recorder.restore()
