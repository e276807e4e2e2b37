"""Optimizers in a recording: what they remember, and the settings of their groups, as symbolic numbers."""

from __future__ import annotations

from copy import copy
from typing import Any

from ...graph import Value
from ...graph.tracing_hook import CompileError
from ..guards import LookupGuard, Place
from .accessors import setting_number, state_array, state_number

SYMBOLIC_SETTINGS = ("lr", "momentum", "betas")  # of an optimizer's groups: what schedulers change between steps


class Optimizers:
    """What a tracer knows of optimizers.

    Attributes:
        states: those whose state was looked at, with the state that they had.
        groups: those whose groups were looked at, with these as the function found them.
    """

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer
        self._stepped: set[int] = set()
        self._first: list[Any] = []
        self.states: list[tuple[Any, dict[Any, Any]]] = []
        self.groups: list[tuple[Any, list[dict[str, Any]]]] = []

    def steps(self, optimizer: Any) -> None:
        """One takes a step.

        Raises:
            CompileError: if it is the second one.
        """
        if id(optimizer) in self._stepped:
            line = self._tracer.line()
            raise CompileError(f"compile: an optimizer takes two steps in one call ({line}); compile one step")
        self._stepped.add(id(optimizer))
        if not optimizer._stepped:
            self._first.append(optimizer)

    def put_back(self) -> None:
        """Let those that took their first step be as before, where the call is refused."""
        for optimizer in self._first:
            vars(optimizer).pop("_stepped", None)

    def state_of(self, optimizer: Any, state: dict[Any, Any]) -> dict[Any, Any]:
        """What an optimizer remembers, with symbolic numbers."""
        before = {number: dict(entries) for number, entries in state.items()}
        symbolic = copy(state)  # of its kind, which may find numbers by parameters
        symbolic.clear()
        for number, state in before.items():
            symbolic[number] = {}
            for key, entry in state.items():
                if isinstance(entry, Value):
                    self._tracer.capture(entry, f"{key} of parameter {number}", state_array(optimizer, number, key))
                elif isinstance(entry, (int, float)) and not isinstance(entry, bool):
                    entry = self._tracer.number(entry, state_number(optimizer, number, key))
                elif entry is not None:
                    raise CompileError(
                        f"compile: {type(optimizer).__name__} keeps a {type(entry).__name__} in its state, which "
                        f"cannot be recorded; call its step() outside ({self._tracer.line()})"
                    )
                symbolic[number][key] = entry
        self.states.append((optimizer, before))
        return symbolic

    def groups_of(self, optimizer: Any, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The groups of an optimizer, with symbolic numbers for what schedulers change."""
        found = [self._symbolic_group(optimizer, where, group) for where, group in enumerate(groups)]
        count = len(groups)
        self._tracer.guards.append(lambda: len(optimizer.param_groups) == count)
        self.groups.append((optimizer, [dict(group) for group in found]))
        return found

    def _symbolic_group(self, optimizer: Any, where: int, group: dict[str, Any]) -> dict[str, Any]:
        symbolic = dict(group)
        for key in SYMBOLIC_SETTINGS:
            value = group.get(key)
            if isinstance(value, (tuple, list)):
                each = [self._tracer.number(v, setting_number(optimizer, where, key, i)) for i, v in enumerate(value)]
                symbolic[key] = tuple(each)
            elif value is not None:
                symbolic[key] = self._tracer.number(value, setting_number(optimizer, where, key))
        checked: list[Any] = []  # what schedulers change, when it was found to make sense

        def makes_sense() -> bool:
            now = optimizer.param_groups[where]
            settings = [tuple(v) if isinstance(v, list) else v for v in map(now.get, SYMBOLIC_SETTINGS)]
            if settings != checked:
                optimizer._check(now)
                checked[:] = settings
            return True

        fixed = [
            key for key in group if key not in SYMBOLIC_SETTINGS
        ]  # looked up anew: load_state_dict makes other groups
        held = vars(optimizer)
        self._tracer.guards += [LookupGuard([Place(held, (where, key), "setting") for key in fixed]), makes_sense]
        return symbolic
