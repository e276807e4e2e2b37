"""Clipping under PyTorch's path."""

from nn.utils import clip_grad_norm_ as clip_grad_norm_
from nn.utils import clip_grad_value_ as clip_grad_value_
