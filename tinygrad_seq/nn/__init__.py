"""The package `nn` under PyTorch's path: the same objects.

These few files, `tinygrad_seq.optim` and `tinygrad_seq.utils` are all of the engine that imports it.
"""

from typing import TYPE_CHECKING, Any

from .owner import require_ours

require_ours()

from nn import *

if TYPE_CHECKING:
    from nn import interchange as interchange
else:

    def __getattr__(name: str) -> Any:
        """What `nn` loads when it is first used."""
        import nn

        return getattr(nn, name)
