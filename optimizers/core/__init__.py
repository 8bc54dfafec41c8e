"""The engine: what every optimizer does around its formula, from arguments to steps, state and saved files.

`algorithm.py` has what the file of an algorithm imports, `optimizer.py` the class that all inherit from, `step.py` the
order of things in a step, and `fused/` the steps in one pass over memory.
"""
