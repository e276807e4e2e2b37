"""Tensor, and what can be computed with it."""

from .creation import as_tensor as as_tensor
from .creation import clone as clone
from .creation import from_dlpack as from_dlpack
from .creation import from_numpy as from_numpy
from .creation import is_floating_point as is_floating_point
from .creation import is_tensor as is_tensor
from .creation import numel as numel
from .tensor import Tensor as Tensor
from .tensor import tensor as tensor
