"""help() is a page: own arguments first, a line for each of those that all have, and formulas that a terminal shows."""

from __future__ import annotations

import abc
import inspect
import pydoc
import random
import re
from typing import Protocol, runtime_checkable
from unittest import mock

import pytest

from gradwise import optimizers, schedules
from gradwise.backends.mathematics import readable
from gradwise.backends.pages import Page
from gradwise.optimizers.registry import ALGORITHMS

COMMON = "Arguments of all optimizers:"
SCHEDULES = [each for name in schedules.__all__ if isinstance(each := getattr(schedules, name), type)]

FORMULAS = {
    r"$\theta_t = \theta_{t-1} - \eta \frac{m_t}{\sqrt{v_t} + \epsilon}$": "θₜ = θₜ₋₁ - η mₜ / (√vₜ + ε)",
    r"$\frac{a + b}{c}$": "(a + b) / c",
    r"$\frac{a}{b} c$": "(a / b) c",
    r"$\frac{a}{b} \cdot c$": "a / b · c",
    r"$\frac{\sqrt{d + \epsilon}}{\sqrt{a + \epsilon}} g$": "(√(d + ε) / √(a + ε)) g",
    r"$\tfrac12 \left(1 + x\right)$": "½ (1 + x)",
    r"$x^{\psi t} + y^2 + z_{i-1}^t$": "x^(ψ t) + y² + zᵢ₋₁ᵗ",
    r"$\bar m_t \ge \operatorname{sign} c_{\text{mean}}$": "m̄ₜ ≥ sign cₘₑₐₙ",
    'the patterns "bias$" and "scale$"': 'the patterns "bias$" and "scale$"',
    "  $$a = b, \\qquad\n  c = d \\quad (s < 1)$$": "      a = b,\n      c = d   (s < 1)",
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_formulas(formula):
    assert readable(formula) == FORMULAS[formula]


HALF_WRITTEN = [
    r"Saves as $name_$step.", r"a $\text{unclosed$ x", r"$x^$", r"$\frac$", r"$\frac a$", r"$\hat$", r"$\sqrt$", "$}$",
    "${{$", "$\\$", "$_$", "$" + "{" * 5000 + "x$", "$" + "^" * 5000 + "$",
    "$((" + "(a)" * 40 + r"\frac{((" + "(a)" * 40 + "}2$",
]  # fmt: skip
TOKENS = [
    "\\frac", "\\text", "\\hat", "\\sqrt", "\\left", "\\nosuch", "\\", "{", "}", "_", "^", "$", "$$", "(", ")",
    "a", "2", " ", "\n",
]  # fmt: skip


@pytest.mark.parametrize("text", HALF_WRITTEN, ids=range(len(HALF_WRITTEN)))
def test_what_is_no_formula_can_be_read(text):
    class Described(optimizers.SGD):
        pass

    Described.__doc__ = Page(text)
    assert isinstance(Described.__doc__, str)


def test_no_text_breaks_the_reader():
    drawn = random.Random(1)
    for _ in range(3000):
        assert isinstance(readable("$" + "".join(drawn.choices(TOKENS, k=drawn.randrange(1, 12))) + "$"), str)


WORDS = """Costs $5 and $6 per step, {'bias$': 1, 'kernel_norm$': 2}, and \\frac12 of $\\theta_t$.

Args:
    beta: see below.
    **keywords: see `Optimizer`.

Notes:
    file: see $HOME/$name_$step.
"""


@pytest.mark.parametrize("base", [optimizers.Optimizer, optimizers.Adam, schedules.LearningRateSchedule])
def test_users_words_stay_as_they_are(base):
    kind = type("Mine", (base,), {"__doc__": WORDS, "__module__": "mine"})
    told = [line for line in inspect.getdoc(kind).splitlines() if line]
    assert [line for line in WORDS.splitlines() if line and line not in told] == []
    if base is schedules.LearningRateSchedule:
        assert kind.__doc__ is WORDS
    else:
        assert kind.__doc__.startswith(WORDS.rstrip()) and COMMON in kind.__doc__


def printed(thing):
    return pydoc.plain(pydoc.render_doc(thing))


def told_in(text):
    """The names with which lines of arguments, and of methods with theirs in brackets, begin."""
    lines = [re.sub(r"\(.*\):", ":", line.strip()) for line in text.splitlines() if re.match(r"    \S.*: ", line)]
    return [name.strip("* ") for line in lines for name in line.partition(": ")[0].split(",")]


def lines_of(thing):
    return len(printed(thing).splitlines())


# Of a terminal's 50 lines: a page or two. Beyond that is the base itself, which rules of one's own are written from.
CORE, BASE, SCHEDULE, TORCH, FUNCTION = 130, 170, 130, 70, 35


@pytest.mark.parametrize("kind", [optimizers.MultiOptimizer, *ALGORITHMS, *SCHEDULES])
@pytest.mark.every_algorithm
def test_a_page_is_a_page_or_two(kind):
    assert lines_of(kind) <= (CORE if issubclass(kind, optimizers.Optimizer) else SCHEDULE)
    assert lines_of(optimizers.Optimizer) <= BASE


@pytest.mark.parametrize("kind", [optimizers.Optimizer, optimizers.MultiOptimizer, *ALGORITHMS])
@pytest.mark.every_algorithm
def test_a_page_tells_users_alone(kind):
    page = printed(kind)
    assert "front ends" not in page and "own_tables" not in page and "update_parameter" not in page
    for name in ("apply", "step", "learning_rate", "iterations", "averages", "exclude_from_weight_decay"):
        assert re.search(rf"^ \|      {name}\b", page, re.MULTILINE), name


def test_what_a_page_leaves_out_is_there():
    names = set(dir(optimizers.Adam))
    assert names >= {"apply", "step", "init", "beta_1", "update_step", "named_cells", "__init__"}
    stand_in = mock.create_autospec(optimizers.Adam, instance=True)
    stand_in.apply([1], [2])
    stand_in.apply.assert_called_once_with([1], [2])


@runtime_checkable
class Sized(Protocol):
    def size(self): ...


class Abstract(abc.ABC):
    @abc.abstractmethod
    def kind(self):
        """What it is."""


@pytest.mark.parametrize("bases", [(Abstract,), (Sized,), (Abstract, Sized)])
@pytest.mark.parametrize("first", [True, False])
def test_a_users_class_tells_what_it_defines(bases, first):
    def mine(self):
        """What is mine."""

    own = (optimizers.Adam, *bases) if first else (*bases, optimizers.Adam)
    made = type(optimizers.Adam)("Mine", own, {"__module__": "mine", "kind": mine, "mine": mine, "size": mine})
    page = printed(made)
    assert "What is mine." in page and "descend" not in page and lines_of(made) <= CORE + 40
    assert isinstance(made(0.1), bases) and isinstance(made(0.1), optimizers.Optimizer) and not isinstance(1, made)


@pytest.mark.parametrize("kind", [optimizers.Optimizer, optimizers.MultiOptimizer, *ALGORITHMS, *SCHEDULES])
@pytest.mark.every_algorithm
def test_every_argument_has_its_line_and_every_formula_is_readable(kind):
    text, page = inspect.getdoc(kind), printed(kind)
    assert text.splitlines()[0] in page
    assert not re.search(r"\\|\b\w_[t0]\b|\^\{", text.partition("Example:")[0])
    assert "Not for users" not in page
    own, _, common = text.partition("Attributes, with")[0].partition(COMMON)
    known = [name for name in inspect.signature(kind).parameters if name != "rate_range"]
    told = told_in(own), told_in(common.partition("\n\n")[0])
    assert all(name in told[0] or name in told[1] for name in known), set(known) - set(told[0] + told[1])
    if issubclass(kind, optimizers.Optimizer):
        methods = told_in(text.partition("Methods of all optimizers, ")[2].partition("\n\n")[0].partition("\n")[2])
        assert methods[:2] == ["apply", "apply_gradients"] and all(callable(getattr(kind, name)) for name in methods)
    if kind in ALGORITHMS:
        given = [name for name in inspect.signature(kind).parameters if name in told[0]]
        assert given and given[0] == "learning_rate"
        assert set(told[1]) <= set(inspect.signature(optimizers.Optimizer).parameters)
        assert max(map(len, common.partition("\n\n")[0].splitlines())) <= 120
        # A line each, which says something.
        assert all(len(line) > 25 for line in common.partition("\n\n")[0].strip().splitlines())


def test_a_users_own_class():
    class Signs(optimizers.Optimizer):
        r"""Steps of one size, $\theta \leftarrow \theta - \eta \operatorname{sign} g$.

        Args:
            learning_rate: the size. 0.1.
            beta: of the mean. 0.9.
            **keywords: see `Optimizer`.

        Raises:
            ValueError: see `Optimizer`.
        """

        def __init__(self, learning_rate=0.1, beta=0.9, **keywords):
            super().__init__(learning_rate, **keywords)
            self.beta = beta

    class Quiet(Signs):
        pass

    text = inspect.getdoc(Signs)
    assert r"$\theta \leftarrow \theta - \eta \operatorname{sign} g$" in text and "keywords: see `Optimizer`." in text
    assert text.index("beta: of the mean") < text.index(COMMON) < text.index("clipnorm: ") < text.index("Raises:")
    assert "Raises:\n    ValueError: see `Optimizer`.\n\nAttributes, with the arguments, which can be set:\n" in text
    assert "help(Signs.apply) and so on tell more:\n    apply(grads, trainable_variables=None): One step" in text
    assert inspect.getdoc(Quiet) == text and list(inspect.signature(Quiet).parameters)[:2] == ["learning_rate", "beta"]
    assert "clipnorm" in inspect.signature(Signs).parameters


@pytest.mark.parametrize("page", ["torch", "optax"])
@pytest.mark.every_algorithm
def test_front_ends(page):
    if page == "optax":
        pytest.importorskip("optax")
    else:
        pytest.importorskip(page)
    import importlib

    front_end = importlib.import_module(f"gradwise.frontends.{page}")
    own = [getattr(front_end, name) for name in front_end.__all__]
    others = ("wrap", "from_optimizer", "to_optimizer")
    own = [each for each in own if hasattr(each, "row") or (inspect.isfunction(each) and each.__name__ not in others)]
    assert len(own) > 7
    for each in own:
        text = inspect.getdoc(each)
        known = list(inspect.signature(each).parameters)
        assert "\\" not in text and "see the module" not in text
        assert set(known) <= set(told_in(text)), each
        assert lines_of(each) <= (TORCH if page == "torch" else FUNCTION)
        assert max(map(len, text.splitlines())) <= 120


def test_what_there_is():
    assert all(kind.__name__ in optimizers.__doc__ for kind in (*ALGORITHMS, optimizers.MultiOptimizer))
