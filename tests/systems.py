"""Marks of tests about what only some systems have. Elsewhere they are skipped, with the reason."""

from __future__ import annotations

import os
import sys

import pytest

posix = pytest.mark.skipif(os.name != "posix", reason="about signals, forks, owners and modes, as POSIX has them")
linux = pytest.mark.skipif(sys.platform != "linux", reason="about /dev/full, /proc and limits, as Linux has them")
