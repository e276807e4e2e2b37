"""`nn.utils.data`, under the path of PyTorch's samplers."""

from nn.utils.data import *
