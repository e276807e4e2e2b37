"""PyTorch's paths: `utils.data` and `utils.checkpoint`, loaded on first use."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import checkpoint as checkpoint
    from . import data as data
else:

    def __getattr__(name: str) -> Any:
        if name not in ("checkpoint", "data"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return import_module(f".{name}", __name__)
