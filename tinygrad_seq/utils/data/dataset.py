"""`nn.utils.data`, under the path of PyTorch's datasets."""

from nn.utils.data import *
