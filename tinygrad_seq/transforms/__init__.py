"""Functions of functions: derivatives, and recomputing instead of storing."""
