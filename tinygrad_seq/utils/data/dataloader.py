"""`nn.utils.data` under another of PyTorch's paths."""

from nn.utils.data import *
