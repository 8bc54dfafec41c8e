"""The source of functions, each read once, and what of it is running.

Where it cannot be had or read, nothing is known, and whoever asks goes on without.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import itertools
import linecache
import textwrap
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Any, TypeAlias, TypeVar

from .mistakes import frame_of_rule, place_of

Place: TypeAlias = tuple[CodeType, int, int | None]
"""A function, a line, and a column in it if that is known."""
_LONG = 70
"""Longer code is not repeated in an error."""
_Node = TypeVar("_Node", bound=ast.AST)


class Source:
    """What is written of a function.

    Args:
        code: of the function.
        written: its lines.
    """

    def __init__(self, code: CodeType, written: str) -> None:
        self._code = code
        self._indent = len(written) - len(written.lstrip())
        self._tree = ast.parse(textwrap.dedent(written))

    @functools.cached_property
    def nodes(self) -> list[ast.AST]:
        """All that stands in it, the outer before what is inside."""
        return list(ast.walk(self._tree))

    @functools.cached_property
    def statements(self) -> list[ast.stmt]:
        """Those inside of it, as they stand under one another."""
        inside = [node for node in self.all_of(ast.stmt) if node is not self._tree.body[0]]
        return sorted(inside, key=lambda node: (node.lineno, node.col_offset))

    @property
    def definition(self) -> ast.FunctionDef | None:
        """The function, if it is a plain one."""
        first = self._tree.body[0]
        return first if isinstance(first, ast.FunctionDef) else None

    def all_of(self, kind: type[_Node]) -> Iterator[_Node]:
        """The nodes of a kind."""
        return (node for node in self.nodes if isinstance(node, kind))

    def statement_at(self, line: int, column: int | None) -> ast.stmt | None:
        """The innermost statement in a place of its file, whose column may be any."""
        here = self.line_in(line), -1 if column is None else column - self._indent
        around = [node for node in self.all_of(ast.stmt) if _holds(node, *here)]
        return max(around, key=lambda node: (node.lineno, node.col_offset), default=None)

    def line_in(self, line: int) -> int:
        """A line of its file as its nodes count them."""
        return line - self._code.co_firstlineno + 1

    def line_of(self, node: ast.expr | ast.stmt) -> str:
        """The line in which a node stands, as errors say it."""
        line = self._code.co_firstlineno + node.lineno - 1
        return place_of(self._code.co_filename, line, self._code.co_name)


@functools.lru_cache(maxsize=64)
def source_of(code: CodeType) -> Source | None:
    """The source of a function; None if it cannot be had or read."""
    with contextlib.suppress(OSError, TypeError, SyntaxError):
        return Source(code, inspect.getsource(code))
    return None


def statement_at(place: tuple[CodeType, int | None, int | None] | None) -> ast.stmt | None:
    """The innermost statement in a place; None if that is not known."""
    if place is None or place[1] is None:
        return None
    source = source_of(place[0])
    return None if source is None else source.statement_at(place[1], place[2])


def running_place() -> Place | None:
    """Where the rule is running, to look later for what stands there; None if that is not known."""
    frame = frame_of_rule()
    return None if frame is None else (frame.f_code, frame.f_lineno, _position(frame)[2])


def running_statement() -> ast.stmt | None:
    """The statement of the rule that is running; None if that is not known."""
    return statement_at(running_place())


def running_code() -> str:
    """The expression of the rule that is running, as it is written; nothing if that is not known."""
    frame = frame_of_rule()
    if frame is None:
        return ""
    first, last, begin, end = _position(frame)
    if first is None or first != last or begin is None or end is None:
        return ""
    return linecache.getline(frame.f_code.co_filename, first).encode()[begin:end].decode(errors="replace")


def running_source() -> tuple[Source | None, int]:
    """The source of the rule's function that is running, and in which line of it that is."""
    frame = frame_of_rule()
    source = None if frame is None else source_of(frame.f_code)
    return source, 0 if source is None else source.line_in(frame.f_lineno)


def named(name: str) -> Any:
    """What a name stands for in the rule that is running; None if it is not known."""
    frame = frame_of_rule()
    return None if frame is None else {**frame.f_globals, **frame.f_locals}.get(name)


def text(node: ast.AST | None, otherwise: str) -> str:
    """Code as it is repeated in an error; something else, if it is long or not known."""
    written = "" if node is None else ast.unparse(node)
    return written if is_short(written) else otherwise


def is_short(written: str) -> bool:
    """Whether there is code, and it can be repeated in an error."""
    return 0 < len(written) <= _LONG and "\n" not in written


def filled(template: str, known: Mapping[str, ast.expr]) -> ast.expr:
    """Code with other code in the place of names.

    Args:
        template: an expression.
        known: what stands in the place of some of its names.
    """

    class Filling(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> Any:
            return known.get(node.id, node)

    found: ast.expr = Filling().visit(ast.parse(template, mode="eval").body)
    return found


def names_in(node: ast.AST) -> list[str]:
    """The names that stand in code."""
    return [each.id for each in ast.walk(node) if isinstance(each, ast.Name)]


def _position(frame: Any) -> tuple[int | None, int | None, int | None, int | None]:
    """The first and the last line, and the first and the last column, of what a frame runs."""
    known = itertools.islice(frame.f_code.co_positions(), frame.f_lasti // 2, None)
    return next(known, (None, None, None, None))


def _holds(node: ast.stmt, line: int, column: int) -> bool:
    begin, end = (node.lineno, node.col_offset), (node.end_lineno or node.lineno, node.end_col_offset or 0)
    return begin[0] <= line <= end[0] if column < 0 else begin <= (line, column) < end
