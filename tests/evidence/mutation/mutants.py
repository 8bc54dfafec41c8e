"""Making mutants from a formula, and putting them in the place of the original for a while."""

from __future__ import annotations

import ast
import contextlib
import copy
import difflib
import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from gradwise import optimizers

from .formulas import NOT_IN_VECTORS, Formula, Function, Site, formula_of, module_of, sites
from .operators import OPERATORS, Surroundings


@dataclass(frozen=True, eq=False)
class Mutant:
    """A function of a formula with one change.

    Attributes:
        operator: the name of the operator that made it.
        site: the number of the node that was changed, among the function's `sites`.
        replacement: what is there instead.
    """

    function: Function
    operator: str
    site: int
    replacement: ast.AST

    @property
    def tree(self) -> ast.FunctionDef:
        """The changed function."""
        if self.site == 0:
            assert isinstance(self.replacement, ast.FunctionDef)
            return self.replacement
        tree = copy.deepcopy(self.function.tree)
        place = sites(tree)[self.site]
        place.put(ast.copy_location(copy.deepcopy(self.replacement), place.node))
        return tree

    @functools.cached_property
    def compiled(self) -> Callable[..., Any]:
        """The changed function, to be called."""
        return compiled(self.function, self.tree)

    def __str__(self) -> str:
        before, after = ast.unparse(self.function.tree).split("\n"), ast.unparse(self.tree).split("\n")
        lines = [f"{line[:2]}{line[2:].strip()}" for line in difflib.ndiff(before, after) if line[0] in "-+"]
        node = sites(self.function.tree)[self.site].node
        where = f"{self.function.file}:{getattr(node, 'lineno', self.function.tree.lineno)}"
        return "\n    ".join([f"{where} {self.function.name}: {self.operator}", *lines])


def compiled(function: Function, tree: ast.FunctionDef, reach: Callable[..., bool] | None = None) -> Any:
    """A function from a tree, with the globals of the one it stands for, and knowing `reach`."""
    maker = ast.parse(f"def make(reach):\n    return {tree.name}")
    maker.body[0].body.insert(0, tree)
    made: dict[str, Any] = {}
    # Annotations are not evaluated there, because they are not here.
    exec(compile(ast.fix_missing_locations(maker), function.file, "exec"), vars(module_of(function)), made)
    return made["make"](reach)


@functools.cache
def mutants_of(algorithm: str) -> tuple[Mutant, ...]:
    """Every mutant of an algorithm's formula, each once."""
    formula = formula_of(algorithm)
    return tuple(mutant for function in formula.functions for mutant in mutants_in(function, formula))


def mutants_in(function: Function, formula: Formula) -> Iterator[Mutant]:
    """The mutants of one function: those that are written differently."""
    around = Surroundings(formula.numbers, formula.slots, function.arrays, NOT_IN_VECTORS)
    seen = {ast.unparse(function.tree)}
    for number, site in enumerate(sites(function.tree)):
        for operator in OPERATORS:
            for replacement in operator(site.node, around):
                text = _text_with(function, site, replacement)
                if text not in seen:
                    seen.add(text)
                    yield Mutant(function, operator.__name__, number, replacement)


def _text_with(function: Function, site: Site, replacement: ast.AST) -> str:
    """The function with another node at a site; for a moment it has it."""
    if site.parent is None:
        return ast.unparse(replacement)
    site.put(replacement)
    try:
        return ast.unparse(function.tree)
    finally:
        site.put(site.node)


Place = tuple[str, int]
"""A function and the number of a site in it."""


def place_of(mutant: Mutant) -> Place:
    """Where a mutant differs."""
    return str(mutant.function), mutant.site


@contextlib.contextmanager
def installed(function: Function, other: Callable[..., Any]) -> Iterator[None]:
    """Another function in the place of one, for every optimizer that has it."""
    original = vars(function.owner)[function.name]
    owners = [function.owner, *(module for module in _modules() if vars(module).get(function.name) is original)]
    for owner in owners:
        setattr(owner, function.name, other)
    try:
        yield
    finally:
        for owner in owners:
            setattr(owner, function.name, original)


def _modules() -> list[ModuleType]:
    """Those of algorithms, which import functions of formulas by their names."""
    return [module for name, module in sys.modules.items() if name.startswith(f"{optimizers.__name__}.")]


# ---------------------------------------------------------------- which places are reached


@contextlib.contextmanager
def reached(formula: Formula) -> Iterator[set[Place]]:
    """The places of a formula that are reached while the context is open.

    A mutant that is different only where nothing goes does just what the original does, without being run.
    """
    found: set[Place] = set()

    def reach(function: str, number: int) -> bool:
        found.add((function, number))
        return True

    with contextlib.ExitStack() as stack:
        for function in formula.functions:
            stack.enter_context(installed(function, compiled(function, _with_marks(function), reach)))
        yield found


def _with_marks(function: Function) -> ast.FunctionDef:
    """The function, telling `reach` of each of its sites as it comes there."""
    tree = copy.deepcopy(function.tree)
    # The function itself comes first, and is changed last.
    for number, place in reversed(list(enumerate(sites(tree)))):
        arguments: list[ast.expr] = [ast.Constant(str(function)), ast.Constant(number)]
        mark = ast.Call(ast.Name("reach", ast.Load()), arguments, [])
        if place.parent is None:
            tree.body = [ast.If(mark, tree.body, [])]
        elif isinstance(place.node, ast.stmt):
            place.put(ast.If(mark, [place.node], []))
        elif isinstance(place.node, ast.expr) and not isinstance(place.node, (ast.Slice, ast.Starred)):
            place.put(ast.IfExp(mark, place.node, ast.Constant(None)))
    return tree
