"""Sequence learning from first principles: tensors with reverse-mode derivatives on NumPy or CuPy.

>>> import tinygrad_seq as tg
>>> x = tg.tensor([1.0, 2.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4.])
"""

from .backend import bool_ as bool
from .backend import complex64, complex128, dtype, float16, float32, float64, int8, int16, int32, int64, uint8
from .checkpointing import checkpoint
from .creation import arange, full, ones, ones_like, zeros, zeros_like
from .device import device, set_default_device
from .functional import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .gradcheck import GradcheckError, gradcheck, gradgradcheck
from .graph import Primitive, enable_grad, is_grad_enabled, no_grad, primitive
from .ops.elementwise import (
    abs,
    add,
    cos,
    div,
    exp,
    log,
    maximum,
    minimum,
    mul,
    neg,
    pow,
    relu,
    sigmoid,
    sign,
    sin,
    sqrt,
    sub,
    tanh,
    where,
)
from .ops.index import gather
from .ops.linalg import matmul
from .ops.reduce import amax, amin, argmax, log_softmax, logsumexp, mean, softmax, sum, var
from .ops.shape import (
    broadcast_to,
    cat,
    chunk,
    expand,
    flatten,
    flip,
    permute,
    reshape,
    split,
    squeeze,
    stack,
    transpose,
    unbind,
    unsqueeze,
)
from .random import Generator, default_generator, manual_seed, multinomial, rand, randint, randn, randperm
from .serialization import load, save
from .tensor import Tensor, as_tensor, from_numpy, tensor
from .version import __version__

float = float32
double = float64
long = int64

__all__ = [
    "Generator",
    "GradcheckError",
    "Primitive",
    "Tensor",
    "__version__",
    "abs",
    "add",
    "amax",
    "amin",
    "arange",
    "argmax",
    "as_tensor",
    "bool",
    "broadcast_to",
    "cat",
    "checkpoint",
    "chunk",
    "complex64",
    "complex128",
    "cos",
    "default_generator",
    "device",
    "div",
    "double",
    "dtype",
    "enable_grad",
    "exp",
    "expand",
    "flatten",
    "flip",
    "float",
    "float16",
    "float32",
    "float64",
    "from_numpy",
    "full",
    "gather",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "hessian",
    "hvp",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_grad_enabled",
    "jacobian",
    "jvp",
    "load",
    "log",
    "log_softmax",
    "logsumexp",
    "long",
    "manual_seed",
    "matmul",
    "maximum",
    "mean",
    "minimum",
    "mul",
    "multinomial",
    "neg",
    "no_grad",
    "ones",
    "ones_like",
    "permute",
    "pow",
    "primitive",
    "rand",
    "randint",
    "randn",
    "randperm",
    "relu",
    "reshape",
    "save",
    "set_default_device",
    "sigmoid",
    "sign",
    "sin",
    "softmax",
    "split",
    "sqrt",
    "squeeze",
    "stack",
    "sub",
    "sum",
    "tanh",
    "tensor",
    "transpose",
    "uint8",
    "unbind",
    "unsqueeze",
    "value_and_grad",
    "var",
    "vjp",
    "where",
    "zeros",
    "zeros_like",
]
