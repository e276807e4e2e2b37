"""The version, where packaging finds it without importing NumPy."""

__version__ = "0.1.0"
