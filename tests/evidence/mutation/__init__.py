"""The mutation score: whether the reference vectors notice every small change of an optimizer's formula.

`operators` lists the changes, `formulas` says which code they are made in, `mutants` makes them. A mutant is killed if
it is farther from a vector than the published bound (`killing`), and equivalent if it agrees with the original in
numbers of many digits (`digits`, `states`, `equivalence`). Anything else is a hole in the vectors.
"""
