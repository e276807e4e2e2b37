"""Sequence learning from first principles: tensors with reverse-mode derivatives on NumPy or CuPy.

>>> import tinygrad_seq as tg
>>> x = tg.tensor([1.0, 2.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4.])
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from . import backend as _backend  # noqa: F401  # first: NumPy loads faster where fewer imports are under way
from . import cuda
from .anomaly import detect_anomaly
from .backend import (
    array_module,
    complex64,
    complex128,
    dtype,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
)
from .backend import bool_ as bool
from .checkpointing import checkpoint
from .creation import arange, eye, full, full_like, linspace, ones, ones_like, zeros, zeros_like
from .device import device, set_default_device
from .functional import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp, vmap
from .gradcheck import GradcheckError, NotTestedWarning, gradcheck, gradgradcheck
from .graph import Primitive, enable_grad, is_grad_enabled, no_grad, primitive
from .ops.activation import clamp, elu, erf, gelu, leaky_relu, silu, softplus
from .ops.einsum import einsum
from .ops.elementwise import (
    abs,
    add,
    cos,
    div,
    exp,
    expm1,
    log,
    log1p,
    maximum,
    minimum,
    mul,
    neg,
    pow,
    relu,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sqrt,
    sub,
    tanh,
    where,
)
from .ops.index import (
    embedding,
    gather,
    index_select,
    masked_fill,
    one_hot,
    pad,
    scatter_add,
    take_along_dim,
    tril,
    triu,
)
from .ops.linalg import addmm, dot, matmul, outer
from .ops.logic import (
    eq,
    ge,
    gt,
    isfinite,
    isinf,
    isnan,
    le,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    ne,
)
from .ops.order import argsort, max, min, sort, topk
from .ops.reduce import (
    all,
    amax,
    amin,
    any,
    argmax,
    argmin,
    cumsum,
    log_softmax,
    logsumexp,
    mean,
    norm,
    prod,
    softmax,
    std,
    sum,
    var,
)
from .ops.rounding import ceil, floor, floor_divide, remainder, round, trunc
from .ops.shape import (
    broadcast_to,
    cat,
    chunk,
    expand,
    flatten,
    flip,
    movedim,
    permute,
    repeat,
    reshape,
    roll,
    split,
    squeeze,
    stack,
    transpose,
    unbind,
    unsqueeze,
)
from .random import (
    Generator,
    bernoulli,
    default_generator,
    manual_seed,
    multinomial,
    normal,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
)
from .tensor import Tensor, as_tensor, from_dlpack, from_numpy, tensor
from .version import __version__

if _TYPE_CHECKING:
    from .config import show_config
    from .drawing import draw_graph
    from .serialization import load, save

# loaded on first use: what they import takes half as long as all the rest
_LAZY = {"draw_graph": "drawing", "load": "serialization", "save": "serialization", "show_config": "config"}


def __getattr__(name: str) -> _Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


float = float32
double = float64
long = int64

__all__ = [
    "Generator",
    "GradcheckError",
    "NotTestedWarning",
    "Primitive",
    "Tensor",
    "__version__",
    "abs",
    "add",
    "addmm",
    "all",
    "amax",
    "amin",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "array_module",
    "as_tensor",
    "bernoulli",
    "bool",
    "broadcast_to",
    "cat",
    "ceil",
    "checkpoint",
    "chunk",
    "clamp",
    "complex64",
    "complex128",
    "cos",
    "cuda",
    "cumsum",
    "default_generator",
    "detect_anomaly",
    "device",
    "div",
    "dot",
    "double",
    "draw_graph",
    "dtype",
    "einsum",
    "elu",
    "embedding",
    "enable_grad",
    "eq",
    "erf",
    "exp",
    "expand",
    "expm1",
    "eye",
    "flatten",
    "flip",
    "float",
    "float16",
    "float32",
    "float64",
    "floor",
    "floor_divide",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "gather",
    "ge",
    "gelu",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "gt",
    "hessian",
    "hvp",
    "index_select",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_grad_enabled",
    "isfinite",
    "isinf",
    "isnan",
    "jacobian",
    "jvp",
    "le",
    "leaky_relu",
    "linspace",
    "load",
    "log",
    "log1p",
    "log_softmax",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "long",
    "lt",
    "manual_seed",
    "masked_fill",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "movedim",
    "mul",
    "multinomial",
    "ne",
    "neg",
    "no_grad",
    "norm",
    "normal",
    "one_hot",
    "ones",
    "ones_like",
    "outer",
    "pad",
    "permute",
    "pow",
    "primitive",
    "prod",
    "rand",
    "rand_like",
    "randint",
    "randn",
    "randn_like",
    "randperm",
    "relu",
    "remainder",
    "repeat",
    "reshape",
    "roll",
    "round",
    "rsqrt",
    "save",
    "scatter_add",
    "set_default_device",
    "show_config",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "softmax",
    "softplus",
    "sort",
    "split",
    "sqrt",
    "squeeze",
    "stack",
    "std",
    "sub",
    "sum",
    "take_along_dim",
    "tanh",
    "tensor",
    "topk",
    "transpose",
    "tril",
    "triu",
    "trunc",
    "uint8",
    "unbind",
    "unsqueeze",
    "value_and_grad",
    "var",
    "vjp",
    "vmap",
    "where",
    "zeros",
    "zeros_like",
]
