"""`nn.utils` under PyTorch's path."""

from typing import TYPE_CHECKING, Any

from nn.utils import *

if TYPE_CHECKING:
    from nn.utils import data as data
else:

    def __getattr__(name: str) -> Any:
        """What `nn.utils` loads when it is first used."""
        from nn import utils

        return getattr(utils, name)
