"""What computes here: `show_config`."""

from __future__ import annotations

import os
import platform
import sys
from importlib.util import find_spec

from .backend import backend_for, numpy_backend
from .device import default_device
from .version import __version__


def show_config() -> None:
    """Print the versions, the devices, and which BLAS kernels multiply matrices; warn if a setting slows them down."""
    print(f"tinygrad_seq {__version__}, Python {platform.python_version()}, {sys.platform} {platform.machine()}")
    print(f"default device {default_device()}, {os.cpu_count()} cores")
    for line in numpy_backend.describe():
        print(line)
    try:
        for line in backend_for("cuda").describe():
            print(line)
    except RuntimeError as error:
        print(error)
    extras = {"io": "safetensors", "examples": "matplotlib"}
    missing = [extra for extra, module in extras.items() if find_spec(module) is None]
    if missing:
        print(f"extras not installed: {', '.join(missing)}")
