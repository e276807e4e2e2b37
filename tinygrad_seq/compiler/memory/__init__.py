"""Where buffers lie: live intervals, reuse in place, donation."""
