"""Is this gradient right? The analytic gradient against derivatives computed from values alone."""

from .check import GradcheckError, gradcheck, gradgradcheck

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]
