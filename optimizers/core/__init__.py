"""The engine: what every optimizer does around its formula, from arguments to steps, state and saved files.

`algorithm.py` has what the file of an algorithm imports, `optimizer.py` the class that all inherit from, `step.py` the
order of things in a step, `fused/` the steps in one pass over memory, and `own_rules/` what is done for rules that
users write.
"""
