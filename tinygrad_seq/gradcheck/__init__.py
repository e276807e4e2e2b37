"""Is this gradient right? The analytic gradient against derivatives computed from values alone."""

from .check import gradcheck, gradgradcheck
from .report import GradcheckError, NotTestedWarning, Report

__all__ = ["GradcheckError", "NotTestedWarning", "Report", "gradcheck", "gradgradcheck"]
