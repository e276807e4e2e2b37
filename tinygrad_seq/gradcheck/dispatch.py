"""What `gradcheck` was given, as a subject."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..backend import is_array
from ..tensor import Tensor
from .arguments import Arguments, Wrt
from .pair_subject import PairSubject
from .subjects import Subject, TensorSubject


def subject_of(f: Any, inputs: Any, wrt: Wrt = None, loss: Any = None) -> Subject:
    """The subject for a function, a module, a pair, or what is PyTorch's or JAX's.

    Raises:
        TypeError: if it is nothing that can be checked; the message says what can.
    """
    pair = isinstance(f, (tuple, list))
    if pair and (len(f) != 2 or not all(callable(part) for part in f)):
        raise TypeError("gradcheck: a pair must be two functions, (forward, backward)")
    if not pair and not callable(f):
        raise TypeError(
            f"gradcheck: takes a function of tensors, a Module, or a pair (forward, backward), got a {type(f).__name__}"
        )
    if loss is not None and (pair or not callable(loss)):
        raise TypeError("gradcheck: loss= takes a function of what the model returns (and the target), for a model")
    parameters = [name for name, _ in f.named_parameters()] if hasattr(f, "named_parameters") else []
    arguments = Arguments(inputs, wrt, constants=loss is not None, others=parameters)
    leaves = arguments.variables + ([] if pair else [f])
    if pair:
        return PairSubject(f, arguments)
    if any(_is_from("torch", x) for x in leaves):
        from .torch_subject import TorchSubject

        if loss is None:
            return TorchSubject(f, arguments)
        return TorchSubject(lambda model: with_loss(model, loss), arguments, owner=f)
    if any(_is_from("jax", x) or _is_from("jaxlib", x) for x in leaves) and not any(
        isinstance(x, Tensor) for x in leaves
    ):
        from .jax_subject import JaxSubject

        return JaxSubject(f if loss is None else with_loss(f, loss), arguments)
    if loss is not None:
        return TensorSubject(with_loss(f, loss), arguments, owner=f)
    return TensorSubject(f, arguments)


def with_loss(model: Callable[..., Any], loss: Callable[..., Any]) -> Callable[..., Any]:
    """The loss of a model as a function of a batch, whose last entry is the target if the loss takes one."""
    takes_target = _required(loss) != 1

    def whole(*batch: Any) -> Any:
        return loss(model(*batch[:-1]), batch[-1]) if takes_target and len(batch) > 1 else loss(model(*batch))

    return whole


def _required(f: Any) -> int | None:
    """How many arguments a function must be given; None if that is not known."""
    try:
        parameters = inspect.signature(getattr(f, "forward", f)).parameters.values()
    except (TypeError, ValueError):
        return None
    return len(
        [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    )


def _is_from(package: str, x: Any) -> bool:
    """Whether something is of a package's making: of one of its classes, or one of its own functions."""
    if is_array(x):
        return False
    kinds = x.__mro__ if isinstance(x, type) else type(x).__mro__
    modules = [kind.__module__ for kind in kinds]
    if not isinstance(x, type) and callable(x):
        modules.append(getattr(x, "__module__", None) or "")
    return any(module.partition(".")[0] == package for module in modules)
