"""Sequence learning from first principles: tensors with reverse-mode derivatives on NumPy or CuPy.

>>> import tinygrad_seq as tg
>>> x = tg.tensor([1.0, 2.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4.])
"""

import typing as _typing
from math import e, inf, nan, pi

from . import backend as _backend  # noqa: F401  # first: NumPy loads faster where fewer imports are under way
from . import cuda
from .autodiff.anomaly_mode import detect_anomaly
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
from .backend import dispatch as _dispatch
from .backend import float16 as half  # PyTorch's other names
from .backend import float32 as float
from .backend import float64 as double
from .backend import int16 as short
from .backend import int32 as int
from .backend import int64 as long
from .gradcheck import GradcheckError, NotTestedWarning, gradcheck, gradgradcheck
from .graph import Primitive, primitive
from .graph.device import device, set_default_device
from .graph.grad_mode import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from .graph.tracing_hook import CompileError
from .ops.activation import clamp, elu, erf, gelu, leaky_relu, silu, softplus
from .ops.arithmetic import (
    add,
    addcdiv,
    addcmul,
    div,
    lerp,
    log2,
    log10,
    logaddexp,
    nan_to_num,
    reciprocal,
    square,
    sub,
    tan,
)
from .ops.einsum import einsum
from .ops.elementwise import (
    abs,
    cos,
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
    tanh,
    where,
)
from .ops.elementwise import mul as multiply
from .ops.elementwise import neg as negative
from .ops.gather import embedding, gather, index_select, scatter, scatter_add, take_along_dim
from .ops.index import masked_fill, masked_select, narrow, nonzero, select
from .ops.layout import (
    diag,
    diagonal,
    index_add,
    index_fill,
    meshgrid,
    one_hot,
    pad,
    repeat_interleave,
    trace,
    tril,
    triu,
)
from .ops.linalg import addmm, addmv, baddbmm, bmm, dot, linear, matmul, mm, mv, outer
from .ops.logic import (
    allclose,
    eq,
    equal,
    ge,
    gt,
    isclose,
    isfinite,
    isin,
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
from .ops.order import (
    argsort,
    bincount,
    max,
    median,
    min,
    sort,
    topk,
    unique,
)
from .ops.reduce import (
    all,
    amax,
    amin,
    any,
    argmax,
    argmin,
    count_nonzero,
    cumprod,
    cumsum,
    mean,
    norm,
    prod,
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
    hstack,
    movedim,
    permute,
    ravel,
    repeat,
    reshape,
    roll,
    split,
    squeeze,
    stack,
    t,
    tile,
    transpose,
    unbind,
    unflatten,
    unsqueeze,
    vstack,
)
from .ops.softmax import log_softmax, logsumexp, softmax
from .tensor import (
    Tensor,
    as_tensor,
    clone,
    from_dlpack,
    from_numpy,
    is_floating_point,
    is_tensor,
    numel,
    tensor,
)
from .tensor import random as random  # `tg.random.manual_seed`, as in PyTorch
from .tensor.creation import (
    BoolTensor,
    ByteTensor,
    CharTensor,
    DoubleTensor,
    FloatTensor,
    HalfTensor,
    IntTensor,
    LongTensor,
    ShortTensor,
    arange,
    empty,
    empty_like,
    eye,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from .tensor.legacy_types import Size, memory_format
from .tensor.random import (
    bernoulli,
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
from .tensor.rng import Generator, default_generator
from .transforms.associative_scan import associative_scan
from .transforms.checkpoint import checkpoint
from .transforms.functional import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp, vmap
from .transforms.scan import scan
from .version import __version__

if _typing.TYPE_CHECKING:
    from . import autograd as autograd  # none of these six in __all__, which a star import loads
    from . import backends as backends
    from . import distributions as distributions
    from . import nn as nn
    from . import optim as optim
    from . import utils as utils
    from .compiler.compile import compile
    from .compiler.compiled import RecompileWarning
    from .config import (
        get_default_dtype,
        get_float32_matmul_precision,
        get_num_threads,
        set_default_dtype,
        set_default_tensor_type,
        set_float32_matmul_precision,
        set_num_threads,
        show_config,
        use_deterministic_algorithms,
    )
    from .drawing import draw_graph
    from .serialization import load, save
    from .tensor.finfo import finfo, iinfo

# loaded on first use: what they import takes half as long as all the rest
_LAZY = {
    "RecompileWarning": "compiler.compiled",
    "compile": "compiler.compile",
    "draw_graph": "drawing",
    "finfo": "tensor.finfo",
    "get_default_dtype": "config",
    "get_float32_matmul_precision": "config",
    "get_num_threads": "config",
    "iinfo": "tensor.finfo",
    "load": "serialization",
    "save": "serialization",
    "set_default_dtype": "config",
    "set_default_tensor_type": "config",
    "set_float32_matmul_precision": "config",
    "set_num_threads": "config",
    "show_config": "config",
    "use_deterministic_algorithms": "config",
}


_LAZY_MODULES = ("autograd", "backends", "distributions", "nn", "optim", "utils")


if not _typing.TYPE_CHECKING:  # to a type checker it would be any name that there is

    def __getattr__(name: str) -> _typing.Any:
        if name in _LAZY_MODULES:
            from importlib import import_module

            return import_module(f".{name}", __name__)
        if name in _LAZY:
            from importlib import import_module

            return getattr(import_module(f".{_LAZY[name]}", __name__), name)
        from .absent import attribute_error

        raise attribute_error(__name__, name)


def _launcher() -> _typing.Any:
    """What runs a primitive on a GPU, loaded on first use: it takes much of the compiler."""
    from .compiler.cuda.eager_fusion import launcher

    return launcher


_dispatch.launchers.append(_launcher)

contiguous_format = memory_format.contiguous_format
preserve_format = memory_format.preserve_format
channels_last = memory_format.channels_last
channels_last_3d = memory_format.channels_last_3d
concat = cat
concatenate = cat
subtract = sub
divide = div
true_divide = div
clip = clamp
swapaxes = transpose
argwhere = nonzero

__all__ = [
    "BoolTensor", "ByteTensor", "CharTensor", "CompileError", "DoubleTensor", "FloatTensor", "Generator",
    "GradcheckError", "HalfTensor", "IntTensor", "LongTensor", "NotTestedWarning", "Primitive", "RecompileWarning",
    "ShortTensor", "Size", "Tensor", "__version__", "abs", "add", "addcdiv", "addcmul", "addmm", "addmv", "all",
    "allclose", "amax", "amin", "any", "arange", "argmax", "argmin", "argsort", "argwhere", "array_module", "as_tensor",
    "associative_scan", "baddbmm", "bernoulli", "bincount", "bmm", "bool", "broadcast_to", "cat", "ceil",
    "channels_last", "channels_last_3d", "checkpoint", "chunk", "clamp", "clip", "clone", "compile", "complex64",
    "complex128", "concat", "concatenate", "contiguous_format", "cos", "count_nonzero", "cuda", "cumprod", "cumsum",
    "default_generator", "detect_anomaly", "device", "diag", "diagonal", "div", "divide", "dot", "double", "draw_graph",
    "dtype", "e", "einsum", "elu", "embedding", "empty", "empty_like", "enable_grad", "eq", "equal", "erf", "exp",
    "expand", "expm1", "eye", "finfo", "flatten", "flip", "float", "float16", "float32", "float64", "floor",
    "floor_divide", "from_dlpack", "from_numpy", "full", "full_like", "gather", "ge", "gelu", "get_default_dtype",
    "get_float32_matmul_precision", "get_num_threads", "grad", "gradcheck", "gradgradcheck", "gt", "half", "hessian",
    "hstack", "hvp", "iinfo", "index_add", "index_fill", "index_select", "inf", "inference_mode", "int", "int8",
    "int16", "int32", "int64", "is_floating_point", "is_grad_enabled", "is_tensor", "isclose", "isfinite", "isin",
    "isinf", "isnan", "jacobian", "jvp", "le", "leaky_relu", "lerp", "linear", "linspace", "load", "log", "log1p",
    "log2", "log10", "log_softmax", "logaddexp", "logical_and", "logical_not", "logical_or", "logical_xor", "logsumexp",
    "long", "lt", "manual_seed", "masked_fill", "masked_select", "matmul", "max", "maximum", "mean", "median",
    "memory_format", "meshgrid", "min", "minimum", "mm", "movedim", "mul", "multinomial", "multiply", "mv", "nan",
    "nan_to_num", "narrow", "ne", "neg", "negative", "no_grad", "nonzero", "norm", "normal", "numel", "one_hot", "ones",
    "ones_like", "outer", "pad", "permute", "pi", "pow", "preserve_format", "primitive", "prod", "rand", "rand_like",
    "randint", "randn", "randn_like", "randperm", "ravel", "reciprocal", "relu", "remainder", "repeat",
    "repeat_interleave", "reshape", "roll", "round", "rsqrt", "save", "scan", "scatter", "scatter_add", "select",
    "set_default_device", "set_default_dtype", "set_default_tensor_type", "set_float32_matmul_precision",
    "set_grad_enabled", "set_num_threads", "short", "show_config", "sigmoid", "sign", "silu", "sin", "softmax",
    "softplus", "sort", "split", "sqrt", "square", "squeeze", "stack", "std", "sub", "subtract", "sum", "swapaxes", "t",
    "take_along_dim", "tan", "tanh", "tensor", "tile", "topk", "trace", "transpose", "tril", "triu", "true_divide",
    "trunc", "uint8", "unbind", "unflatten", "unique", "unsqueeze", "use_deterministic_algorithms", "value_and_grad",
    "var", "vjp", "vmap", "vstack", "where", "zeros", "zeros_like",
]  # fmt: skip
