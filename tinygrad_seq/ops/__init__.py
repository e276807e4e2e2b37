"""The operations: primitives with their derivatives, and what is composed of them. The only place that knows calculus."""
