"""Reverse mode: the backward pass and anomaly mode."""

from .backward import recorded_sweep as recorded_sweep
from .backward import sweep as sweep
from .backward import topological_order as topological_order
