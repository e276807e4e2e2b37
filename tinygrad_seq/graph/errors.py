"""What the public functions have in common: NumPy's names for dimensions, and mistakes that are explained."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

from ..backend import is_array
from ..backend.dispatch import at, several_gpus

F = TypeVar("F", bound=Callable[..., Any])

_THEIRS = {"axis": "dim", "dims": "dim", "keepdims": "keepdim"}  # NumPy's and PyTorch's names for arguments of ours
_THEIRS |= {"other": "b", "mat2": "b", "vec": "b", "vec2": "b", "size": "shape"}

MISTAKES = (AttributeError, IndexError, OverflowError, TypeError, ValueError)


def public(function: F) -> F:
    """Decorator: a function whose errors name it, and which takes NumPy's and PyTorch's names for some arguments.

    `axis` and `dims` are `dim`, `keepdims` is `keepdim`, `other` is `b`, and `input` is the first one. Editors and type
    checkers show ours.

    An error that names the function already passes as it is. Of the others, one that names what the function is made of
    gets its name in front, and an AttributeError is a TypeError: something was given that is not a tensor.
    """
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    aliases = {theirs: ours for theirs, ours in _THEIRS.items() if ours in names and theirs not in names}

    takes_size = code.co_flags & 0x04 and code.co_varnames[len(names)] == "size"  # 0x04: has *size

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if "input" in kwargs and not args:
            args = (kwargs.pop("input"),)
        if takes_size and "size" in kwargs and not args:
            args = (kwargs.pop("size"),)
        if kwargs:
            for theirs in aliases.keys() & kwargs.keys():
                ours = aliases[theirs]
                if ours in kwargs:
                    raise TypeError(f"{function.__name__}: got both {ours}= and {theirs}=, which mean the same")
                kwargs[ours] = kwargs.pop(theirs)
        try:
            if several_gpus:  # what it makes on the way has to be there, too
                with at(*args):
                    return function(*args, **kwargs)
            return function(*args, **kwargs)
        except MISTAKES as error:
            if _says_where(error, function.__name__):
                raise
            if not isinstance(error, AttributeError) and re.match(r"[A-Za-z_]\w*: ", str(error)):
                raise _kind(error)(f"{function.__name__}: {error}") from error
            raise explained(function.__name__, error, args, kwargs) from error

    return cast(F, called)


def _says_where(error: Exception, name: str) -> bool:
    """Whether a message names the function already: ours do, and Python's about missing arguments."""
    return not isinstance(error, AttributeError) and str(error).startswith((f"{name}: ", f"{name}("))


def _kind(error: Exception) -> type[Exception]:
    """What Python calls such an error: NumPy derives its own."""
    return next((kind for kind in (IndexError, ValueError, TypeError) if isinstance(error, kind)), TypeError)


def explained(name: str, error: Exception, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Exception:
    """The error with the function's name and its arguments in front."""
    strange = [x for x in args if x is None or not _fits(x)]
    if strange and (strange[0] is args[0] or isinstance(error, (AttributeError, TypeError))):
        return TypeError(f"{name}: takes tensors, arrays and numbers, got {_in_short(strange[0])}")
    if isinstance(error, AttributeError) and any(error.obj is x for x in [*args, *kwargs.values()]):
        return TypeError(f"{name}: takes a tensor, got {_in_short(error.obj)}; tg.tensor makes one of numbers")
    if isinstance(error, TypeError) and re.search("ufunc '|(num|cu)py boolean|takes no booleans", str(error)):
        kinds = dict.fromkeys([str(x.dtype) for x in args if hasattr(x, "dtype")])
        return TypeError(f"{name}: does not take numbers of {' and '.join(kinds)}; convert them, as in .float()")
    given = ", ".join([_in_short(x) for x in args] + [f"{key}={_in_short(x)}" for key, x in kwargs.items()])
    return _kind(error)(f"{name}: cannot take {given}: {error}")


def require_numbers(inputs: Sequence[Any], name: str = "") -> None:
    """Raise a TypeError, which begins with `name`, unless all inputs are numbers, tensors, arrays, or lists of them."""
    for x in inputs:
        if not _fits(x):
            raise TypeError(f"{name}takes tensors, arrays and numbers, got {_in_short(x)}")


def _fits(x: Any) -> bool:
    if isinstance(x, (list, tuple)):
        return all(_fits(element) for element in x)
    return _is_number(x) or is_array(x) or hasattr(x, "array")


def _is_number(x: Any) -> bool:
    return isinstance(x, (bool, int, float, complex))


def _in_short(x: Any) -> str:
    """An argument in a few words."""
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return f"shape {tuple(x.shape)}"
    if _is_number(x) or x is None or isinstance(x, (str, list, tuple)):
        text = repr(x)
        return text if len(text) <= 40 else text[:37] + "..."
    return f"a {type(x).__name__}"
