"""One call watched: what it computes, what it looks at, and what it leaves behind."""
