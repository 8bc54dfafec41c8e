"""Programs: an update rule as a list of operations, how it is recorded, cut into passes, and run."""
