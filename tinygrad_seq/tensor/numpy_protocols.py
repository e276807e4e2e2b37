"""NumPy's functions when they are called with tensors: ours of the same meaning, or a clear refusal."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..ops import elementwise, linalg, logic, order, reduce, rounding, shape

_UFUNCS: dict[str, Callable[..., Any]] = {
    "absolute": elementwise.abs,
    "ceil": rounding.ceil,
    "divide": elementwise.div,
    "equal": logic.eq,
    "floor": rounding.floor,
    "greater": logic.gt,
    "greater_equal": logic.ge,
    "invert": lambda x: ~x,
    "less": logic.lt,
    "less_equal": logic.le,
    "matmul": linalg.matmul,
    "multiply": elementwise.mul,
    "negative": elementwise.neg,
    "not_equal": logic.ne,
    "power": elementwise.pow,
    "rint": rounding.round,
    "subtract": elementwise.sub,
    "true_divide": elementwise.div,
}
for _module, _names in (
    (elementwise, "add cos exp expm1 log log1p maximum minimum sign sin sqrt tanh"),
    (logic, "isfinite isinf isnan logical_and logical_not logical_or logical_xor"),
    (rounding, "floor_divide remainder trunc"),
):
    _UFUNCS |= {name: getattr(_module, name) for name in _names.split()}

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "broadcast_to": shape.broadcast_to,
    "concatenate": lambda arrays, axis=0: shape.cat(arrays, axis),
    "cumsum": lambda x, axis=None: reduce.cumsum(shape.flatten(x), 0) if axis is None else reduce.cumsum(x, axis),
    "expand_dims": shape.unsqueeze,
    "ndim": lambda x: x.ndim,
    "shape": lambda x: x.shape,
    "size": lambda x, axis=None: x.numel() if axis is None else x.size(axis),
    "max": reduce.amax,
    "min": reduce.amin,
    "reshape": lambda x, lengths: shape.reshape(x, (lengths,) if isinstance(lengths, int) else lengths),
    "sort": lambda x, axis=-1: order.sort(x, axis).values,
    "stack": lambda arrays, axis=0: shape.stack(arrays, axis),
    "std": lambda x, axis=None, ddof=0, keepdims=False: reduce.std(x, axis, keepdim=keepdims, correction=ddof),
    "transpose": lambda x, axes=None: shape.permute(x, axes or tuple(range(x.ndim))[::-1]),
    "var": lambda x, axis=None, ddof=0, keepdims=False: reduce.var(x, axis, keepdim=keepdims, correction=ddof),
    "where": elementwise.where,
}
for _module, _names in (
    (reduce, "all amax amin any argmax argmin mean prod sum"),
    (order, "argsort"),
    (shape, "squeeze"),
):
    _FUNCTIONS |= {name: getattr(_module, name) for name in _names.split()}


def call_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """What NumPy hands over for np.exp(tensor), or array * tensor."""
    ours = _UFUNCS.get(ufunc.__name__)
    if ours is None or method != "__call__" or settings:
        extra = "" if method == "__call__" else f".{method}"
        raise _refusal(f"{ufunc.__name__}{extra}", settings)
    return ours(*inputs)


def call_function(function: Any, args: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """What NumPy hands over for np.sum(tensor)."""
    ours = _FUNCTIONS.get(function.__name__)
    if ours is None:
        raise _refusal(function.__name__, settings)
    try:
        return ours(*args, **settings)
    except TypeError as error:  # Python's about arguments that ours does not have
        if re.search(r"\(\) (got an unexpected|takes|missing)", str(error)):
            raise _refusal(function.__name__, settings) from None
        raise


def _refusal(name: str, settings: dict[str, Any]) -> TypeError:
    given = f" with {', '.join(settings)}" if settings else ""
    return TypeError(
        f"numpy.{name}{given} does not take tensors: the gradient would be lost. Use the operation of tinygrad_seq, or "
        "give NumPy the numbers alone: tensor.detach().numpy()"
    )
