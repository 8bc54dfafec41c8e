"""Programs: what recording a rule gives, cut into passes, and run operation by operation."""
