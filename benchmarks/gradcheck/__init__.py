"""Correct and wrong gradients, and what checkers say of them: `python -m benchmarks gradcheck`."""
