"""`nn.utils.data`, under the path of PyTorch's loader."""

from nn.utils.data import *
