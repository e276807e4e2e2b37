"""`Optimizer` under PyTorch's path."""

from nn.optim import Optimizer as Optimizer
