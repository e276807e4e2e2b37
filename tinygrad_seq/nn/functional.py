"""`nn.functional` under PyTorch's path."""

from nn.functional import *
