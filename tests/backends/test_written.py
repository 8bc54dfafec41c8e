"""How errors write what a rule's line should be: in the names that stand there, and in general words without source."""

from __future__ import annotations

import types

import numpy as np
import pytest

from gradwise.backends import Variable, ops, source
from gradwise.backends.mistakes import MissingAttribute, RuleMistake

CHANGES = {
    "x -= rate * g": "`x.assign_sub(rate * g)`",
    "x += g": "`x.assign_add(g)`",
    "x *= rate + 1": "`x.assign(x * (rate + 1))`",
    "x /= 2.0; g = 1.0": "`x.assign(x / 2.0)`",
    "g = 1.0; x **= 2": "`x.assign(x ** 2)`",
    "if rate: x -= (g +\n    rate)": "`x.assign_sub(g + rate)`",
    "xs = [x]\nxs[0] -= g": "`xs[0].assign_sub(g)`",
    "x.mul_(0.9)": "`x.assign(x * 0.9)`",
    "x.mul_(0.9).add_(g)": "`x.assign(x * 0.9 + g)`",
    "x.add_(g, alpha=-rate)": "`x.assign_add(-rate * g)`",
    "x.sub_(g)": "`x.assign_sub(g)`",
    "x.addcmul_(g, g, value=1 - rate)": "`x.assign_add((1 - rate) * g * g)`",
    "x.addcdiv_(g, rate)": "`x.assign_add(g / rate)`",
    "x.lerp_(g, 0.1)": "`x.assign_add(0.1 * (g - x))`",
    "x.zero_()": "`x.assign(ops.zeros_like(x))`",
    "x.copy_(g)": "`x.assign(g)`",
    "x.clamp_(-1.0, 1.0)": "`x.assign(ops.clip(x, -1.0, 1.0))`",
    "x[:] = g": "`x.assign(g)`",
    "x[x.value > 0] = 0.0": "`x.assign(ops.where(x.value > 0, 0.0, x))`",
    "x[0] += 1.0": "`x.assign(ops.where(mask > 0.5, x + 1.0, x))`",
    "x.value = x - g": "`x.assign(x - g)`",
    f"x *= {' + '.join(['rate'] * 20)}": "`x.assign(new value)`",
}


def run(code, tmp_path, with_source=True):
    path = tmp_path / "rule.py"
    source = "def rule(x, g, rate):\n" + "".join(f"    {line}\n" for line in code.splitlines())
    if with_source:
        path.write_text(source)
    space = {"ops": ops}
    exec(compile(source, str(path), "exec"), space)
    with pytest.raises(RuleMistake) as caught:
        space["rule"](Variable(np.ones(2)), np.ones(2), 0.5)
    return str(caught.value)


@pytest.mark.parametrize("code", CHANGES)
def test_changes_of_a_cell(code, tmp_path):
    assert f"rite {CHANGES[code]}" in run(code, tmp_path)


@pytest.mark.parametrize("code", CHANGES)
def test_changes_of_a_cell_without_source(code, tmp_path):
    said = run(code, tmp_path, with_source=False)
    assert "rule.py:" in said and "None" not in said


@pytest.mark.parametrize("code", ["x.frobnicate_()", "x.mul_(*g)", "y = x.mul_(0.9)", "x.add_(g, out=x)"])
def test_what_no_change_is_written_for(code, tmp_path):
    with pytest.raises(MissingAttribute):
        raise MissingAttribute(run(code, tmp_path))


def test_a_place_among_several_statements():
    code = compile("def f():\n    a = 1; b = 2\n", "nowhere.py", "exec").co_consts[0]
    assert isinstance(code, types.CodeType)
    assert source.statement_at((code, 2, None)) is None
    here = test_a_place_among_several_statements.__code__
    first = here.co_firstlineno + 1
    assert source.text(source.statement_at((here, first, None)), "long") == "long"
    assert source.text(source.statement_at((here, first + 3, None)), "") == f"here = {here.co_name}.__code__"
    assert source.statement_at((here, None, None)) is None
