"""The operations: primitives with their derivatives, and what is composed of them. Calculus is here alone."""
