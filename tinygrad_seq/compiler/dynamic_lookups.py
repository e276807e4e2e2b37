"""Whether code looks up attributes by names that it works out, so that they do not stand in it."""

from __future__ import annotations

import dis
import re
import types
from collections.abc import Iterator

_BY_NAME = ("getattr", "hasattr", "setattr", "delattr")
_ALL = {"vars", "dir", "__dict__", "__slots__", "attrgetter", "methodcaller", "__getattribute__", "eval", "exec"}
_WORDS = {*_BY_NAME, *_ALL, "globals"}


def words(code: types.CodeType) -> Iterator[str]:
    """The words in the texts of a function that may look up by them."""
    if not _WORDS.isdisjoint(code.co_names):
        for x in code.co_consts:
            if isinstance(x, str):
                yield from re.findall(r"[^\W\d]\w*", x)


def is_dynamic(code: types.CodeType) -> bool:
    """Whether a function looks up attributes by other names than those that stand in it."""
    if not _ALL.isdisjoint(code.co_names):
        return True
    if set(_BY_NAME).isdisjoint(code.co_names):
        return False
    found = [*dis.get_instructions(code)]
    return any(x.argval in _BY_NAME and not _is_literal(found[i + 1 :]) for i, x in enumerate(found))


def _is_literal(following: list[dis.Instruction]) -> bool:
    """Whether the second argument of a call is a literal, by the instructions after its function is on the stack."""
    depth, literal = 0, False
    for x in following:
        if "JUMP" in x.opname:
            return False  # an argument with a condition in it
        before = depth
        depth += dis.stack_effect(x.opcode, x.arg, jump=False)
        if depth < 1 and before:
            return literal
        if depth == 2 and before != 2:
            literal = before == 1 and x.opname == "LOAD_CONST"
    return False
