"""`nn.optim.lr_scheduler` under PyTorch's path."""

from nn.optim.lr_scheduler import *
