"""How a step becomes one pass over memory."""
