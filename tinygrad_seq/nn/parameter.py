"""`Parameter` under PyTorch's path."""

from nn import Parameter as Parameter
