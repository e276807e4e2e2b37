"""`nn.optim` under PyTorch's path."""

from ..nn.owner import require_ours as _require_ours

_require_ours()

from nn.optim import *
