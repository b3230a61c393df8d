"""Training: specs, the stacked engine, and the runs that come of it."""
