"""`nn.utils.rnn` under PyTorch's path."""

from nn.utils.rnn import *
