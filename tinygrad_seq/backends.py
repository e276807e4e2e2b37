"""`tg.backends`, for PyTorch's programs: switches of libraries that are not here. Setting one says so once."""

from __future__ import annotations

import warnings
from typing import Any


class _Library:
    """A library's switches: kept, and without effect."""

    _name: str
    _told: bool

    def __init__(self, name: str, **switches: Any) -> None:
        vars(self).update(_name=name, _told=False, **switches)

    def __setattr__(self, switch: str, value: Any) -> None:
        if not self._told and value != getattr(self, switch, None):
            vars(self)["_told"] = True
            warnings.warn(
                f"backends.{self._name}: {switch} has no effect: {self._name} is not used here, and the same seed "
                "always gives the same numbers",
                stacklevel=2,
            )
        vars(self)[switch] = value

    def is_available(self) -> bool:
        return False

    is_built = is_available

    def version(self) -> None:
        return None


class _Products(_Library):
    """`backends.cuda.matmul`: its `allow_tf32` is `tg.set_float32_matmul_precision`."""

    def __setattr__(self, switch: str, value: Any) -> None:
        if switch != "allow_tf32":
            super().__setattr__(switch, value)
            return
        from .config import set_float32_matmul_precision

        set_float32_matmul_precision("high" if value else "highest")

    @property
    def allow_tf32(self) -> bool:
        from .config import get_float32_matmul_precision

        return get_float32_matmul_precision() == "high"


cudnn: Any = _Library("cudnn", enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
mps: Any = _Library("mps")
mkl: Any = _Library("mkl")
mkldnn: Any = _Library("mkldnn", enabled=False)
cuda: Any = _Library("cuda", matmul=_Products("cuda.matmul"))
