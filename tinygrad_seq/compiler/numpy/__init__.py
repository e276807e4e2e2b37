"""Programs run by NumPy."""
