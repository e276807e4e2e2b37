"""`tg.checkpoint` under PyTorch's path."""

from ..checkpointing import checkpoint as checkpoint
