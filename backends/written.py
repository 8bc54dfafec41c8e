"""How the line of a rule that makes a mistake is written instead, in the rule's own names.

Where its source is not known, errors say it in general words. What is found after a run is told by
`own_rules/remedies.py`, which has how cells are written to and made from here.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Sequence
from typing import Any

from .source import (
    Source,
    filled,
    is_short,
    named,
    names_in,
    running_code,
    running_source,
    running_statement,
    text,
)

_IN_PLACE = {
    "mul_": "x * a", "add_": "x + a", "sub_": "x - a", "div_": "x / a", "pow_": "x**a", "copy_": "a", "neg_": "-x",
    "sqrt_": "ops.sqrt(x)", "abs_": "ops.abs(x)", "sign_": "ops.sign(x)", "square_": "ops.square(x)",
    "exp_": "ops.exp(x)", "zero_": "ops.zeros_like(x)", "fill_": "ops.full_like(x, a)", "clamp_": "ops.clip(x, a, b)",
    "lerp_": "x + b * (a - x)", "addcmul_": "x + value * a * b", "addcdiv_": "x + value * a / b",
}  # fmt: skip
"""What torch's methods change an array to: x is the array, a and b are the first arguments."""
_MASK = (
    ", where `mask` is a slot: `self.add_variable_from_reference(each, 'mask', initializer=array)` in build makes it "
    "of an array that is 1.0 at these elements"
)
_SCALED = {"add_": "x + alpha * a", "sub_": "x - alpha * a"}
"""The same where a factor is given."""


def changed_in_place() -> tuple[ast.expr, ast.expr] | None:
    """What the running statement changes in place (`x *= a`, `x.mul_(a)`), and what it shall be; None if it does not.
    """
    statement = running_statement()
    if isinstance(statement, ast.AugAssign):
        target = ast.parse(ast.unparse(statement.target), mode="eval").body
        return target, ast.BinOp(target, statement.op, statement.value)
    if isinstance(statement, ast.Expr):
        return _chained(statement.value)
    return None


def cell_read_by(target: ast.expr) -> str | None:
    """The cell whose value a target is: `cell.value`, or a name that the running function gave it, `x = cell.value`.

    None if it is another.
    """
    if isinstance(target, ast.Attribute) and target.attr == "value":
        return text(target.value, "cell")
    source, line = running_source()
    if source is None or not isinstance(target, ast.Name):
        return None
    given = [
        node
        for node in source.all_of(ast.Assign)
        if node.lineno < line and ast.unparse(node.targets[0]) == target.id
    ]
    value = max(given, key=lambda node: node.lineno).value if given else None
    if isinstance(value, ast.Attribute) and value.attr == "value":
        return text(value.value, "cell")
    return None


def in_place_of_change(cell: str | None = None) -> str | None:
    """How what the running statement changes in place is committed to a cell; None if it changes nothing so.

    Args:
        cell: how the cell is written. Default: as what is changed.
    """
    changed = changed_in_place()
    return None if changed is None else _committed(*changed, cell or text(changed[0], "variable"))


def in_place_of_change_of_value(cell: str) -> str:
    """The same for a name that was given the value of a cell: what follows goes on with the new one.

    Args:
        cell: how the cell is written.
    """
    changed, (source, line) = changed_in_place(), running_source()
    if changed is None or source is None or not isinstance(changed[0], ast.Name):
        return in_place_of_change(cell) or assigned(cell)
    name, written = changed[0].id, _committed(*changed, cell)
    if not _is_read_after(source, line, name):
        return written
    if ".assign(" not in written:
        return f"{written}, then `{name} = {cell}.value`"
    return f"`{name} = {text(changed[1], '...')}`, then {assigned(cell, name)}"


def _is_read_after(source: Source, line: int, name: str) -> bool:
    """Whether a function may read a name behind a line of it."""
    # In a loop, what stands before may come after.
    loops = [*source.all_of(ast.For), *source.all_of(ast.While)]
    first = min([node.lineno for node in loops], default=line)
    read = [node.lineno for node in source.all_of(ast.Name) if node.id == name and isinstance(node.ctx, ast.Load)]
    return any(other > line or first <= other < line for other in read)


def exchanged(method: str) -> str:
    """What is wrong with the running statement, whose call of a method of the optimizer's exchanges its arguments.

    Args:
        method: its name.
    """
    call = _writing_call()
    value, cell = ("value", "variable") if call is None else (text(call.args[0], "value"), text(call.args[1], "cell"))
    return f"`self.{method}` has its two arguments exchanged. Write {assigned_by_rule(cell, value, method)}."


def chosen_by(condition: str, first: Sequence[ast.stmt], other: Sequence[ast.stmt]) -> str:
    """How what an `if` chooses by an array is written with functions of ops.

    Args:
        condition: the array.
        first: what is done where it holds.
        other: what is done else.
    """
    given = _given_in(first)
    if given is not None:
        target, value, method = given
        unchanged = target, "0.0" if method in ("assign_add", "assign_sub") else target, method
        otherwise = _given_in(other) if other else unchanged
        if otherwise is not None and otherwise[::2] == (target, method):
            chosen = f"ops.where({condition}, {value}, {otherwise[1]})"
            return assigned_by_rule(target, chosen, method) if method else f"`{target} = {chosen}`"
    that = "do_that" if other else "lambda: None"
    functions = "functions of no arguments" if other else "what stands under it in a function `do_this()`"
    return f"`ops.cond({condition}, do_this, {that})`, with {functions}"


def _given_in(branch: Sequence[ast.stmt]) -> tuple[str, str, str] | None:
    """What a branch gives a value, which, and by which of the optimizer's methods if not by `=`; None if that is more.
    """
    statement = branch[0]
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id, text(statement.value, "a"), ""
    call = statement.value if isinstance(statement, ast.Expr) and len(branch) == 1 else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and len(call.args) == 2:
        owner, method = ast.unparse(call.func.value), call.func.attr
        if owner == "self" and method in ("assign", "assign_add", "assign_sub"):
            return text(call.args[0], "variable"), text(call.args[1], "a"), method
    return None


def given_anew(name: str, sign: str = "") -> str:
    """How the running statement gives a new value to a name, where it changes or assigns to the old one.

    Args:
        name: where the statement is not known.
        sign: the operator, for the same.
    """
    changed = changed_in_place() or _assigned_to()
    if changed is None:
        return f"`{name} = {name} {sign} ...`" if sign else f"`{name} = ...`"
    return f"`{text(changed[0], name)} = {text(changed[1], '...')}`"


def instead_of_elements(name: str = "array", is_cell: bool = False) -> str:
    """What to write instead of the running statement, which sets elements.

    Args:
        name: of the array, where the statement is not known.
        is_cell: whether the array is a cell's.
    """
    statement, value, condition = running_statement(), "value", "condition"
    target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
    whole, more = False, ""
    if isinstance(target, ast.Subscript) and isinstance(statement, (ast.Assign, ast.AugAssign)):
        name, value = text(target.value, name), text(statement.value, "value")
        if isinstance(statement, ast.AugAssign):
            value = text(ast.BinOp(target.value, statement.op, statement.value), "value")
        whole = ast.unparse(target.slice) in (":", "...")
        condition = text(target.slice, "condition")
        if not isinstance(target.slice, (ast.Compare, ast.UnaryOp, ast.BinOp)) or "-" in condition:
            condition, more = "mask > 0.5", _MASK
    new = value if whole else f"ops.where({condition}, {value}, {name})"
    return f"Write {assigned(name, new) if is_cell else f'`{name} = {new}`'}{'' if whole else more}."


def instead_of_setting() -> str:
    """How the running statement, which sets an attribute of a cell, is written."""
    statement = running_statement()
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Attribute):
        return assigned(text(statement.targets[0].value, "variable"), text(statement.value, "value"))
    if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Attribute):
        return in_place_of_change(text(statement.target.value, "variable")) or assigned("variable")
    return assigned("variable")


def instead_of_reading(attribute: str) -> str:
    """How the running expression, which reads an attribute of a cell, is written.

    Args:
        attribute: its name.
    """
    cell = running_code().removesuffix(f".{attribute}")
    cell = cell if is_short(cell) and cell != running_code() else "variable"
    return f"`{cell}` itself, or `{cell}.value`"


def instead_of_number() -> str:
    """How the running statement, which gives a cell one number, gives it one for each element."""
    call, statement = _writing_call(), running_statement()
    alone = statement.value if call is None and isinstance(statement, ast.Expr) else None
    if isinstance(alone, ast.Call) and isinstance(alone.func, ast.Attribute) and len(alone.args) == 1:
        # `cell.assign(number)`, of whoever has a cell.
        cell = text(alone.func.value, "variable")
        return f"`{cell}.{alone.func.attr}({_of_each_element(alone.args[0], alone.func.value)})`"
    if call is None:
        return "`number * ops.ones_like(variable)`"
    cell, number = call.args
    return f"`{ast.unparse(call.func)}({text(cell, 'variable')}, {_of_each_element(number, cell)})`"


def _of_each_element(number: ast.expr, cell: ast.expr) -> str:
    """How a number is written for each element of a cell."""
    name = text(cell, "variable")
    written = ast.BinOp(number, ast.Mult(), ast.parse(f"ops.ones_like({name})", mode="eval").body)
    return text(written, f"{text(number, 'number')} * ops.ones_like({name})")


def instead_of_list() -> str:
    """How the running statement, which assigns to a list of slots, assigns to the slot of a parameter."""
    call = _writing_call()
    slots, value = ("self.slots", "value") if call is None else (text(call.args[0], "self.slots"), call.args[1])
    value = value if isinstance(value, str) else text(value, "value")
    return assigned_by_rule(slot_in(slots), value)


def instead_in_build(method: str, name: str | Sequence[str]) -> str:
    """How the running statement, which makes a cell in a step, makes it in build.

    Args:
        method: of the optimizer.
        name: of the cell.
    """
    statement = running_statement()
    target = statement.targets[0] if isinstance(statement, ast.Assign) else None
    attribute = target.attr if isinstance(target, ast.Attribute) else name
    kept = f"self.{attribute}" if isinstance(attribute, str) and attribute.isidentifier() else "self.slots"
    return number_made(kept, name) if method == "add_scalar" else slots_made(kept, name)


def instead_of_going(called: str) -> str:
    """What is wrong with the running statement, which takes the elements of an array, and how it is written.

    Args:
        called: what errors call the array.
    """
    statement, running = running_statement(), running_code()
    found = re.fullmatch(r"(sum|max|min)\((.+)\)", running)
    if found is not None and "," not in found.group(2) and " for " not in running:
        return f"calls {found.group(1)}() on {called}. Write `ops.{found.group(1)}({found.group(2)})`."
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], (ast.Tuple, ast.List)):
        first, array = statement.targets[0].elts[0], text(statement.value, "array")
        if isinstance(first, ast.Name):
            return (
                f"takes {called} apart into its elements, which not every library allows. "
                f"Write `{first.id} = {array}[0]`."
            )
    name = "array"
    slow = f"goes through the elements of {called} one by one, which JAX cannot compile in reasonable time."
    if isinstance(statement, ast.For):
        name, whole = text(statement.iter, "array"), _added_up(statement)
        if whole is not None:
            return f"{slow} Write {whole}."
    return (
        f"{slow} Compute with the whole array, as `{name} * {name}`, `ops.sum({name})` and "
        "`ops.where(condition, a, b)` do."
    )


def _added_up(loop: ast.For) -> str | None:
    """How a loop over an array that only adds up is written in one line; None if it does something else."""
    body, element = loop.body[0], loop.target.id if isinstance(loop.target, ast.Name) else ""
    if len(loop.body) > 1 or loop.orelse or not element:
        return None
    if isinstance(body, ast.AugAssign):
        return _added_to_name(body, element, loop.iter)
    call = _writing(body)
    if call is None or call.func.attr == "assign" or not _is_proportional(call.args[1], element):
        return None
    total = filled(f"ops.sum({ast.unparse(loop.iter)}, axis=0)", {})
    cell, new = text(call.args[0], ""), text(filled(ast.unparse(call.args[1]), {element: total}), "")
    return assigned_by_rule(cell, new, call.func.attr) if cell and new else None


def _added_to_name(body: ast.AugAssign, element: str, array: ast.expr) -> str | None:
    """The same of a loop in which `total += ...` stands, with what follows from an element."""
    calls = any(isinstance(node, ast.Call) for node in ast.walk(body.value))
    if calls or element not in names_in(body.value) or not isinstance(body.op, (ast.Add, ast.Sub)):
        return None
    whole = ast.unparse(filled(ast.unparse(body.value), {element: array}))
    name = text(body.target, "")
    new = text(ast.BinOp(body.target, body.op, filled(f"ops.sum({whole}, axis=0)", {})), "")
    return f"`{name} = {new}`" if name and new else None


def _is_proportional(node: ast.expr, name: str) -> bool:
    """Whether code is proportional to what a name stands for, so that sums of it are it of the sum."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _is_proportional(node.operand, name)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
        left, right = name in names_in(node.left), name in names_in(node.right)
        if left and not right:
            return _is_proportional(node.left, name)
        return right and not left and isinstance(node.op, ast.Mult) and _is_proportional(node.right, name)
    return isinstance(node, ast.Name) and node.id == name


def put_into() -> str:
    """How the running statement, which puts a value into a list of slots, assigns it to the slot."""
    statement = running_statement()
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Subscript):
        return assigned(text(statement.targets[0], "slot"), text(statement.value, "value"))
    return assigned("slot")


def cached_function() -> str:
    """The function with functools.lru_cache that the rule is calling, as it is written; nothing if it is none."""
    with contextlib.suppress(SyntaxError):
        call = ast.parse(running_code(), mode="eval").body
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            return call.func.id if hasattr(named(call.func.id), "cache_info") else ""
    return ""


def _assigned_to() -> tuple[ast.expr, ast.expr] | None:
    """What a call of `assign` and its like is given in the running statement, and what it shall be."""
    call = _writing_call()
    if call is None:
        return None
    operator = {"assign_add": ast.Add(), "assign_sub": ast.Sub()}.get(call.func.attr)
    target, value = call.args
    return target, value if operator is None else ast.BinOp(target, operator, value)


def _writing_call() -> Any:
    """The call of `self.assign(cell, value)` or its like that the running statement is; None if it is none."""
    return _writing(running_statement())


def _writing(statement: ast.stmt | None) -> Any:
    """The same of any statement."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and len(call.args) == 2:
        return call
    return None


def _committed(target: ast.expr, value: ast.expr, cell: str) -> str:
    """How a change of a cell in place is written: `self.assign_sub(cell, a)` for `cell -= a`, and so on."""
    if isinstance(value, ast.BinOp) and ast.unparse(value.left) == ast.unparse(target):
        method = {ast.Add: "assign_add", ast.Sub: "assign_sub"}.get(type(value.op))
        if method is not None:
            return assigned(cell, text(value.right, "..."), method)
    return assigned(cell, text(value, "new value"))


def assigned(cell: str, value: str = "value", method: str = "assign") -> str:
    """How a cell is written to, by whoever runs now: a rule by its optimizer, others by the cell itself."""
    if hasattr(named("self"), "update_step"):
        return assigned_by_rule(cell, value, method)
    return f"`{cell}.{method}({value})`"


def assigned_by_rule(cell: str, value: str = "value", method: str = "assign") -> str:
    """How a rule writes to a cell."""
    return f"`self.{method}({cell}, {value})`"


def slot_in(attribute: str) -> str:
    """How a rule finds the slot of its parameter in a list."""
    return f"{attribute}[self.variable_index(variable)]"


def slots_made(attribute: str, key: str | Sequence[str]) -> str:
    """How build makes a slot for each parameter."""
    return f"`{attribute} = self.add_optimizer_variables(variables, {key!r})`"


def build_with_slots(name: str) -> str:
    """A whole build that makes a slot for each parameter, as an attribute of some name."""
    made = slots_made(f"self.{name}", name.strip("_")).strip("`")
    return f"def build(self, variables): super().build(variables); {made}"


def number_made(attribute: str, key: str | Sequence[str]) -> str:
    """How build makes a number for all parameters."""
    return f"`{attribute} = self.add_scalar({key!r}, 0.0)`"


def _chained(call: ast.expr) -> tuple[ast.expr, ast.expr] | None:
    """Of torch's methods that change an array, one after another, the array and what it shall be."""
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return None
    method, given = call.func.attr, {each.arg: each.value for each in call.keywords if each.arg}
    given |= dict(zip("ab", call.args, strict=False))
    template = _SCALED.get(method) if "alpha" in given else _IN_PLACE.get(method)
    if template is None or "out" in given:
        return None
    inner = _chained(call.func.value) or (call.func.value, call.func.value)
    if method in ("addcmul_", "addcdiv_") and "value" not in given:
        template = template.replace("value * ", "")
    known = {"x": inner[1], **given}
    wanted = {*names_in(ast.parse(template))} - {"ops"}
    return (inner[0], filled(template, known)) if wanted <= set(known) else None
