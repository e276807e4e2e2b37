"""Tensor, and what can be computed with it."""

from .tensor import Tensor as Tensor
from .tensor import as_tensor as as_tensor
from .tensor import clone as clone
from .tensor import from_dlpack as from_dlpack
from .tensor import from_numpy as from_numpy
from .tensor import is_floating_point as is_floating_point
from .tensor import is_tensor as is_tensor
from .tensor import numel as numel
from .tensor import tensor as tensor
