"""`tg.compile`: what it takes, and what it makes of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, overload

from .compiled import Compiled, P, R
from .compiled_module import CompiledModule
from .executors import native_fault

_OF_PYTORCH = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")  # modes
_INSTEAD = {
    "mode": "there is one way to compile",
    "fullgraph": "a function is one program, or refused",
    "dynamic": "each shape has a program of its own",
    "backend": "executor= chooses what runs a program",
    "options": "there are none",
}


class _Module(Protocol):
    """What is compiled as a module, and passes for it."""

    def named_parameters(self) -> Any: ...


M = TypeVar("M", bound=_Module)


class _Compile(Protocol):
    """The decorator, when its settings are given: it keeps the signature as well."""

    @overload
    def __call__(self, function: M) -> M: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> Compiled[P, R]: ...


@overload
def compile(
    function: M,
    *,
    executor: str | None = None,
    mode: str | None = None,
    fullgraph: bool | None = None,
    dynamic: bool | None = None,
    backend: Any = None,
    options: Any = None,
) -> M: ...
@overload
def compile(
    function: Callable[P, R],
    *,
    executor: str | None = None,
    mode: str | None = None,
    fullgraph: bool | None = None,
    dynamic: bool | None = None,
    backend: Any = None,
    options: Any = None,
) -> Compiled[P, R]: ...
@overload
def compile(
    function: None = None,
    *,
    executor: str | None = None,
    mode: str | None = None,
    fullgraph: bool | None = None,
    dynamic: bool | None = None,
    backend: Any = None,
    options: Any = None,
) -> _Compile: ...
def compile(
    function: Any = None,
    *,
    executor: str | None = None,
    mode: str | None = None,
    fullgraph: bool | None = None,
    dynamic: bool | None = None,
    backend: Any = None,
    options: Any = None,
) -> Any:
    """A function that does what `function` does, faster: recorded at its first call, replayed from then on.

    For a whole training step (forward, backward, clipping, the optimizer's step), for a module alone, a step of
    sampling: any function of tensors, arrays, numbers and strings, in tuples, lists and dictionaries. Gradients pass
    through its results, as they do without compiling. A compiled module passes for the module. What the function takes
    from outside, such as parameters, an optimizer's state and learning rate, or random numbers, it takes anew at each
    call, and changes there. Shapes, dtypes, Python numbers among the arguments, grad mode and the switches of modules,
    such as `training`, belong to a program: when one changes, another program is recorded, and kept beside it.

    Sums may be taken in another order, so results agree to rounding. At the first call the function runs in Python,
    twice if an optimizer has nothing to remember yet.

    >>> @tg.compile
    ... def step(x, y):
    ...     loss = F.cross_entropy(model(x), y)
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss

    Args:
        function: what to compile, a function or a module; without it, a decorator.
        executor: "native" for machine code made by LLVM, which takes the extra `jit`; "numpy" for NumPy alone. By
            default native where that works and is faster; `tg.show_config()` says which it is, and why.
        mode: "explain" to print what was joined and what was not, at each recording; "verify" to run the function
            itself at each call as well, from the same state, and raise a CompileError if anything differs by more than
            rounding: results, gradients, parameters, an optimizer's state, generators, or what else changed outside.
        fullgraph, dynamic, backend, options: PyTorch's, as its modes are: a warning says that they change nothing.

    Raises:
        CompileError: at a call, if the function cannot be replayed: Python asks for a tensor's number or truth, a shape
            depends on values, NumPy is called on a tensor, a tensor is kept in a list. The message has
            the line, and the way out. Model and optimizer are as they were before.
        ImportError: if executor="native" cannot run here.
    """
    if mode not in (None, "explain", "verify", *_OF_PYTORCH):
        raise ValueError(f"compile: mode is None, 'explain' or 'verify', got {mode!r}")
    if executor not in (None, "numpy", "native"):
        raise ValueError(f"compile: executor is 'native', 'numpy' or None, got {executor!r}")
    if executor == "native" and (why := native_fault()):
        raise ImportError(
            f"compile: the native executor does not run here, because {why}. Or leave executor= out, for NumPy"
        )
    theirs = {"fullgraph": fullgraph, "dynamic": dynamic, "backend": backend, "options": options}
    if mode in _OF_PYTORCH:
        theirs["mode"], mode = mode, None
    for name, value in theirs.items():
        if value is not None:
            text = f"compile: {name}={value!r} is PyTorch's, and changes nothing here, where {_INSTEAD[name]}"
            warnings.warn(text, stacklevel=2)
    if function is None:
        return lambda f: compile(f, executor=executor, mode=mode)
    if hasattr(function, "forward") and hasattr(function, "named_parameters"):
        return CompiledModule(function, executor=executor, mode=mode)
    return Compiled(function, executor=executor, mode=mode)
