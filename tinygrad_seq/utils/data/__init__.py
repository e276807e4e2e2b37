"""`nn.utils.data` under PyTorch's path."""

from ...nn.owner import require_ours as _require_ours

_require_ours()

from nn.utils.data import *
