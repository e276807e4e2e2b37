"""`nn.init` under PyTorch's path."""

from nn.init import *
