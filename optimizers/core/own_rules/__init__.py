"""What is done for a rule that a user writes: it is tried out, its mistakes are told, its class is made again.

`rehearsal.py` says when a rule is tried out and what is asked of it then, `trial.py` how, and `explaining.py` what
errors of libraries mean; `checking.py` compares all ways to run an optimizer, which `ways.py` says what they are. None
of it computes anything of a step.
"""
