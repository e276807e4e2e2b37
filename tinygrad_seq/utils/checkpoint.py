"""`tg.checkpoint` under PyTorch's path."""

from ..transforms.checkpoint import checkpoint as checkpoint
