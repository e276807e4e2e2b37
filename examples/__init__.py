"""Programs built on tinygrad_seq."""
