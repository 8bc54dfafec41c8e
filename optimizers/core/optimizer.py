"""The base class of all optimizers."""

from __future__ import annotations

import copy
import functools
import inspect
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, cast

from ...backends import FLOATING, Variable, backend_of, describe, is_number, value_of
from ...backends.arguments import (
    bound,
    call_methods,
    merged_signature,
    named_in,
    names_with_stars,
    not_recognized,
    signature_of_init,
    takes_any,
)
from ...backends.mistakes import RuleMistake, WrongValue, called_by_rule, line_of_rule
from ...backends.pages import Page, Paged, first_sentences, show_as_page, summaries, with_arguments
from ...backends.written import given_anew, instead_of_list, instead_of_number
from ...schedules import registry as schedule_registry
from .conventions import CONVENTIONS, facts_of
from .equality import ComparedByValue
from .evaluation import EvaluatedOptimizer
from .exclusions import Chosen
from .following import FollowsConvention
from .hyperparameters import (
    Choice,
    ChoiceForEach,
    Convention,
    Count,
    Flag,
    Number,
    Switch,
    Tables,
    hyperparameters,
    lacked_in,
    may_be,
    remember_array,
    tables_of,
)
from .imperative import ImperativeOptimizer
from .memory import MeasuredOptimizer
from .older import check_order, hint_at_convention
from .origin import is_of_library
from .own_rules.checking import CheckedOptimizer
from .own_rules.configurations import completed, is_own, made_from, shown_values
from .own_rules.explaining import check_no_step
from .own_rules.guarding import is_on_trial, refuse_rate
from .rates import called_with_step, check_rate, checked_number
from .saving import SavedOptimizer
from .stateless import StatelessOptimizer
from .synonyms import ASKED_BY, CALLED_HERE, NO_ARGUMENTS, SYNONYMS

_LATER = ("convention", "slot_dtype", "jit_compile", "maximize", "decay")
"""Configuration that Keras does not know; it stands behind what Keras knows."""


class Optimizer(
    ComparedByValue, FollowsConvention, ImperativeOptimizer, StatelessOptimizer, SavedOptimizer, CheckedOptimizer,
    MeasuredOptimizer, EvaluatedOptimizer, metaclass=Paged,
):  # fmt: skip
    r"""The base of every optimizer: subclass it, create slots in `build`, write the rule in `update_step`.

    Args:
        learning_rate: a number >= 0, a schedule, or any callable of the step (or of nothing) giving a number. 0.001.
        weight_decay: >= 0; how strongly parameters shrink in each step. None is off. Decoupled ("keras"; "optax" where
            its optimizer of that name has it): before each update the parameter loses `weight_decay * learning_rate` of
            itself. Coupled ("torch"): the gradient gains `weight_decay` times the parameter.
        clipnorm: > 0; each gradient is scaled down to this Euclidean norm. In convention "keras2" the norm is that of
            all gradients together; in "torch" it counts 1e-6 more than it is. None is off.
        clipvalue: > 0; gradients are limited to [-clipvalue, clipvalue]. None is off.
        global_clipnorm: > 0; all gradients are scaled down together to this norm. None is off.
        use_ema: keep an exponential moving average of every parameter.
        ema_momentum: in [0, 1]; the weight of the past in the average.
        ema_overwrite_frequency: every how many updates the parameter is set to its average. None is never.
        loss_scale_factor: > 0; what `scale_loss` multiplies by and `apply` divides gradients by. None is off.
        gradient_accumulation_steps: >= 2; make one update of the mean gradient for so many `apply` calls. Schedules
            count calls, the rest counts updates. None is off.
        name: what errors call the optimizer. Default: the class's name in snake case.
        convention: whose formula to follow: "keras", "keras2", "torch", "optax" or "authors". As in Keras 3, Keras 2.2,
            torch.optim 2.13, optax 0.2.8, and the code of who wrote the paper. In "torch" and "authors" each parameter
            has a step count of its own, of the steps in which it had a gradient. None is the first in the class's
            table.
        slot_dtype: the dtype in which slots are stored, or a dict of dtypes by slot name, such as
            {"momentum": "bfloat16"}. Default: float32 for 16-bit parameters, else the parameter's.
        jit_compile: how imperative steps run: "auto", True or False. "auto": NumPy arrays and torch CPU tensors in one
            pass over memory, where Numba is installed and the rule can be recorded; torch tensors on devices by
            multi-tensor functions; otherwise by whole arrays. False: always by whole arrays. True: an error where it
            cannot be one pass; on devices by torch's compiler. Functional steps take the pass unless it is False, to
            new arrays, where nothing is traced or differentiated; otherwise they run by whole arrays.
        maximize: climb the gradient; in convention "torch".
        **older: `lr` for `learning_rate`; `decay`, which divides the rate by 1 + `decay` * the number of `apply` calls.

    Raises:
        ValueError: if an argument is unknown, out of its range, or has no meaning in the convention; the value at which
            it changes nothing is allowed everywhere.

    What an optimizer keeps is its `cells`: parameters, slots, numbers and counts.

    NaN and infinity in a gradient are not searched for: they go through the formula to the same element of the
    parameter and of its slots, and to no other. NaN makes the element NaN; an infinity makes it infinite in a rule
    that is linear in the gradient (NaN where its weight is 0), is a step like any other in a rule that takes signs, and
    makes it NaN in a rule that divides it by its own size. `clipvalue` limits an infinity.
    Clipping by norms spreads: with `clipnorm` an infinite norm leaves NaN where the gradient was infinite and 0 in the
    rest of that gradient, and a NaN norm makes all of that gradient NaN. With a global norm the same holds of all
    gradients together; in conventions "keras" and "keras2" an infinite norm, too, makes every gradient NaN.

    An infinite element of a parameter stays infinite, but for weight decay: coupled, it makes it NaN, as an infinite
    gradient does; decoupled, only in convention "optax", and elsewhere where it leaves nothing of it.

    A finite gradient makes no NaN, however large or small it is, as long as epsilon is not 0. Where a mean of squares
    overflows, it stays infinite, and the element stays where it is from then on; a sum of squares does as much.

    Two optimizers are equal, and hash alike, if they are of one class and were made with equal arguments, whatever they
    have learned. So one may be a static argument of `jax.jit`; after it was hashed, it refuses changes. One that is
    made once JAX is imported is also a node of JAX's trees, with its numbers (rate, betas, ...) for leaves: as an
    argument that is not static, other numbers compile nothing anew, and it can be mapped over and differentiated. A
    step takes its rate from the state, in which `init` puts the optimizer's.

    Example:
        >>> import numpy as np
        >>> from gradwise.backends import ops
        >>> from gradwise.optimizers import Optimizer
        >>> class SignDescent(Optimizer):
        ...     def update_step(self, gradient, variable, learning_rate):
        ...         self.assign_sub(variable, learning_rate * ops.sign(gradient))
        >>> weights = np.array([1.0, 2.0])
        >>> SignDescent(0.5).apply([np.array([3.0, -3.0])], [weights])
        1
        >>> weights
        array([0.5, 2.5])
    """

    conventions: ClassVar[dict[str, dict[str, Any]]] = {"keras": {}, "keras2": {}}
    """For each convention the algorithm has: the arguments that exist in it, with the value that None stands for; and
    the `Switch`es of its formula, with what they are there."""

    weight_decay_forms: ClassVar[dict[str, str]] = {
        name: facts.weight_decay for name, facts in CONVENTIONS.items() if facts.weight_decay is not None
    }
    """What weight decay does in the conventions that have it: "decoupled", on the parameter; "coupled", through the
    gradient."""

    older_order: ClassVar[tuple[str, ...]] = ()
    """The arguments of Keras 2's class, in their order, under the names that they have here."""

    suggested_rate: ClassVar[float | None] = None
    """A learning rate to begin with on a small network, where the default, which is the frameworks', is too small for
    that; None where it will do."""

    own_tables: ClassVar[Tables]
    """The tables of the class and of its parents, for the `Switch`es."""

    sometimes_lacked: ClassVar[frozenset[str]]
    """What some conventions of the class, or of a parent, have and others do not."""

    decoupled_weight_decay = Switch(False)
    """Whether weight decay is decoupled even where the convention couples it; some algorithms let users say so."""

    convention = Convention(tuple(CONVENTIONS))
    maximize = Flag()
    weight_decay = Number("[0, inf)", optional=True)
    clipnorm = Number("(0, inf)", optional=True)
    global_clipnorm = Number("(0, inf)", optional=True)
    clipvalue = Number("(0, inf)", optional=True)
    use_ema = Flag()
    ema_momentum = Number("[0, 1]")
    ema_overwrite_frequency = Count(1, optional=True)
    loss_scale_factor = Number("(0, inf)", optional=True)
    gradient_accumulation_steps = Count(2, optional=True)
    slot_dtype = ChoiceForEach(FLOATING, optional=True)
    jit_compile = Choice(("auto", True, False))
    decay = Number("[0, inf)")

    def __new__(cls, *arguments: Any, **keywords: Any) -> Any:
        """Refuse arguments that do not exist, and a rate under both of its names, which none could tell from a default.
        """
        signature = inspect.signature(cls)
        if len(arguments) > 1 or (keywords and not takes_any(signature)):
            bound(cls.__name__, signature, arguments, keywords, SYNONYMS, NO_ARGUMENTS, functools.partial(may_be, cls))
        # A subclass may have arguments of its own, in its own order.
        order = vars(cls).get("older_order", ())
        convention = keywords.get("convention")
        older = convention is None or (isinstance(convention, str) and facts_of(convention).has_older_order)
        if order and older and len(arguments) < len(signature.parameters):
            switches = [name for name, each in hyperparameters(cls).items() if isinstance(each, Flag)]
            check_order(cls.__name__, list(signature.parameters), order, arguments, switches, stacklevel=2)
        hint_at_convention(cls.__name__, keywords, 'add convention="keras2"', stacklevel=2)
        if "lr" in keywords:
            given = signature.bind_partial(*arguments, **keywords).arguments
            if "learning_rate" in given:
                check_rate(given["learning_rate"], cls.__name__)
                raise ValueError(f"{cls.__name__}: give `learning_rate` or its older name `lr`, not both.")
        return super().__new__(cls)

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        convention: str | None = None,
        slot_dtype: str | dict[str, str] | None = None,
        jit_compile: bool | str = "auto",
        maximize: bool = False,
        **older: Any,
    ) -> None:
        self._reset_structure()
        self._schedule: Callable[..., Any] | None = None
        self._excluded = Chosen()
        self._excluded_names: tuple[str, ...] = ()
        self.convention = next(iter(type(self).conventions)) if convention is None else convention
        if name is not None and not isinstance(name, str):
            raise ValueError(f"{type(self).__name__}: `name` must be a string or None, received {describe(name)}.")
        self.name = name or snake_case(type(self).__name__)
        self.weight_decay = weight_decay
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.use_ema = use_ema
        self.ema_momentum = ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.slot_dtype = slot_dtype
        self.jit_compile = jit_compile
        self.maximize = maximize
        self._check_combinations()
        decay = older.pop("decay", None)
        self.decay = 0.0 if decay is None else decay
        rate = older.pop("lr", None)
        if older:
            known = [*named_in(inspect.signature(type(self))), "decay"]
            raise ValueError(not_recognized(type(self).__name__, older, known, SYNONYMS, NO_ARGUMENTS))
        self.learning_rate = learning_rate if rate is None else rate

    if not TYPE_CHECKING:  # For which all attributes would exist.

        def __getattr__(self, name: str) -> Any:
            """Say of an attribute that optimizers have elsewhere what to do here."""
            if name in CALLED_HERE and not hasattr(type(self), name):
                library = str(sys._getframe(1).f_globals.get("__name__")).partition(".")[0]
                if library in ASKED_BY:
                    raise AttributeError(f"{type(self).__name__} is {ASKED_BY[library]}.")
                raise AttributeError(f"{type(self).__name__} has no attribute `{name}`: {CALLED_HERE[name]}.")
            if hasattr(type(self), name) and "cells" in vars(self):
                # With the words of what stands in the class.
                return object.__getattribute__(self, name)
            raise self._forgotten(name)

    def __init_subclass__(cls, **keywords: Any) -> None:
        check_no_step(cls)
        super().__init_subclass__(**keywords)
        # Algorithms pass the common arguments on; help() and editors should still show them all.
        cls.own_tables = tables_of(cls)
        cls.sometimes_lacked = lacked_in(cls.own_tables)
        show_as_page(cls, _with_common, formulas=is_of_library(cls))
        signature = _with_first_convention(cls, merged_signature(cls, Optimizer))
        cls.__signature__ = signature  # type: ignore[attr-defined]  # read by inspect.signature

    # ---------------------------------------------------------------- learning rate

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the next imperative step, before `decay`: a float.

        Set it to a number, a schedule or a callable at any time. It concerns the imperative path (`apply`) and the
        `init` of new functional state; existing functional state carries its own: see `with_learning_rate`.
        """
        return self._rate_now(called_by_rule())

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        check_rate(value, type(self).__name__)
        if callable(value) and not isinstance(value, Variable):
            self._schedule = value if hasattr(value, "get_config") else called_with_step(value, type(self).__name__)
            return
        if isinstance(value, dict):
            self.learning_rate = schedule_registry.deserialize(value)
            return
        rate = checked_number(value_of(value), type(self).__name__)
        self._schedule = None
        self.cells.rate = Variable.scalar(rate, "learning_rate")
        remember_array(self, "learning_rate", value)

    def _rate_now(self, asked_by_rule: bool) -> Any:
        if asked_by_rule and is_on_trial(self, itself=True):
            refuse_rate()
        return self.base_rate_at(self.cells.iterations.value, self.cells.rate.value)

    @property
    def lr(self) -> Any:
        """`learning_rate` under its shorter name."""
        return self._rate_now(called_by_rule())

    @lr.setter
    def lr(self, value: Any) -> None:
        self.learning_rate = value

    def write_learning_rate(self, value: Any) -> None:
        """Set the rate to a number in the cell that has it, which compiled code holds.

        Args:
            value: a number >= 0, or what stands for one while it is traced.

        Raises:
            ValueError: if it is none.
        """
        rate = checked_number(value, type(self).__name__)
        self._schedule = None
        self.cells.rate.array = rate

    def lacks_slots_for(self, name: str, value: Any) -> bool:
        """Whether an optimizer that is built has no slots for another value of a hyperparameter."""
        return bool(value) and name in self._off_when_built

    @property
    def learning_rate_schedule(self) -> Callable[..., Any] | None:
        """The schedule or callable the rate comes from, or None if it is a number."""
        return getattr(self._schedule, "__wrapped__", self._schedule)

    # ---------------------------------------------------------------- writing to cells

    def assign(self, variable: Variable, value: Any) -> None:
        """Make a parameter or slot hold `value`, an array of its shape.

        Raises:
            TypeError, ValueError: if it is of another library or shape; a number has the shape of numbers only.
        """
        _check_cell(variable)
        variable.assign(value)

    def assign_add(self, variable: Variable, value: Any) -> None:
        """Add `value`, an array of its shape or with axes of length 1, to a parameter or slot."""
        _check_cell(variable)
        if is_on_trial(self):
            self._check_whole(variable, value, "adds")
        variable.assign_add(value)

    def assign_sub(self, variable: Variable, value: Any) -> None:
        """Subtract `value`, an array of its shape or with axes of length 1, from a parameter or slot."""
        _check_cell(variable)
        if is_on_trial(self):
            self._check_whole(variable, value, "subtracts")
        variable.assign_sub(value)

    def _check_whole(self, variable: Variable, value: Any, does: str) -> None:
        """Raise if a rule changes a cell by something with other axes, which would be stretched over its elements."""
        value = value_of(value)
        backend = backend_of(value)
        if backend is None or not variable.ndim or _has_axes_of(backend.shape(value), _shape_held(variable)):
            return
        if is_number(value) and id(variable) not in self.cells.index:
            # To count in a slot is fine.
            return
        what, instead = f"an array of shape {backend.shape(value)}", f"Give an array of shape {variable.shape}."
        if not backend.shape(value):
            what, instead = "one number", f"To change all elements by it, write {instead_of_number()}."
        raise WrongValue(
            f"{line_of_rule()} {does} {what} {'to' if does == 'adds' else 'from'} {variable.name!r}, which has shape "
            f"{variable.shape}. {instead}"
        )

    # ---------------------------------------------------------------- configuration

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this optimizer again, as plain values.

        Of a user's own class also the arguments of its constructor, and its public attributes that hold a number, text,
        a flag or None; functions, arrays and optimizers that it keeps under their arguments' names stand there as they
        are.

        Raises:
            TypeError: if the learning rate is a plain function, which cannot be written down; or if an optimizer made
                from it would not be equal, because a user's own class keeps what it was given in another way.
        """
        config = self._known_config()
        if not is_own(type(self)):
            return config
        return completed(self, config, checked=is_of_library(type(self).get_config))

    def _known_config(self) -> dict[str, Any]:
        """What this library's classes know of the configuration."""
        schedule = self.learning_rate_schedule
        rate = self.cells.rate.value if schedule is None else schedule_registry.serialize(cast(Any, schedule))
        config: dict[str, Any] = {"name": self.name, "learning_rate": rate}
        for name in sorted(hyperparameters(type(self)), key=_LATER.__contains__):
            config[name] = getattr(self, name)
        return config

    @classmethod
    def from_config(cls, config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
        """An optimizer from what `get_config` gave; `config` does not change.

        Args:
            config: the arguments.
            custom_objects: classes of schedules by name, for those that are not gradwise's own.

        Raises:
            TypeError: if `config` is no dictionary of arguments by name.
            ValueError: as the constructor.
        """
        if not isinstance(config, dict) or not all(isinstance(name, str) for name in config):
            raise TypeError(f"{cls.__name__}: expected a dictionary of arguments by name, received {describe(config)}.")
        config = copy.copy(config)
        if isinstance(config.get("learning_rate"), dict):
            config["learning_rate"] = schedule_registry.deserialize(config["learning_rate"], custom_objects)
        if is_own(cls):
            return made_from(cls, config)
        known = [*named_in(inspect.signature(cls)), "lr", "decay"]
        unknown = [name for name in config if name not in known]
        if unknown:
            raise ValueError(
                f"{cls.__name__} has no {', '.join(map(repr, unknown))}: this configuration is of another class. Call "
                "from_config of that class, or keep the class with it by `optimizers.serialize(optimizer)` and "
                "`optimizers.deserialize(config)`."
            )
        return cls(**config)

    def __repr__(self) -> str:
        rate = self.learning_rate_schedule if self._schedule is not None else self.cells.rate.value
        own = shown_values(self) if is_own(type(self)) else ""
        return f"<{type(self).__name__} {self.name!r}, learning_rate={rate!r}, convention={self.convention!r}{own}>"


def _shape_held(variable: Any) -> tuple[int, ...]:
    """The shape of what a cell, or whatever is taken for one, holds now: it may be a piece."""
    held = variable.sink.value if isinstance(variable, Variable) else variable
    backend = backend_of(held)
    return () if backend is None else tuple(backend.shape(held))


def _has_axes_of(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether a shape has the axes of another, some perhaps of length 1, as reductions with `keepdims` leave them."""
    return len(shape) == len(whole) and all(length in (1, full) for length, full in zip(shape, whole, strict=True))


def _check_cell(variable: Any) -> None:
    """Raise if a rule assigns to something else than a cell."""
    if not hasattr(variable, "assign"):
        is_list = isinstance(variable, (list, tuple, dict))
        what, instead = ("a list", instead_of_list()) if is_list else (describe(variable), given_anew("x"))
        raise RuleMistake(f"{line_of_rule()} assigns to {what}, which is no parameter and no slot. Write {instead}.")


_ATTRIBUTES = ("learning_rate", "learning_rate_schedule", "iterations", "calls_made", "variables")
"""What users read of an optimizer beside its hyperparameters."""
_STEPS = (
    "apply", "apply_gradients", "init", "step", "delta", "averages", "evaluation_parameters", "updates_at",
    "with_learning_rate", "learning_rate_at", "scale_loss", "exclude_from_weight_decay", "finalize_variable_values",
    "set_weights", "get_config", "from_config", "unbuilt_copy", "relink", "check", "memory", "execution_report",
    "program_of", "stateless_apply", "save_own_variables", "load_own_variables",
)  # fmt: skip
"""What users of an optimizer call, in the order in which a page tells of it."""
_RULES = (
    "build", "update_step", "begin_step", "add_optimizer_variables", "add_variable_from_reference", "add_variable",
    "add_array", "add_scalar", "variable_index", "step_of", "assign", "assign_add", "assign_sub", "as_tree",
)  # fmt: skip
"""What rules of a user's own define and call."""


def _with_common(cls: type, text: str) -> str:
    """The page of a class, with what all have: arguments, and what users read and call."""
    names = names_with_stars(inspect.signature(cls))
    for parent in cls.__mro__[1:]:
        if issubclass(parent, Optimizer) and isinstance(vars(parent).get("__doc__"), Page):
            title = f"Arguments of {parent.__name__ if parent is not Optimizer else 'all optimizers'}"
            told = first_sentences(str(parent.__doc__))
            text = with_arguments(text, names, told, title, edited=is_of_library(cls))
            names = [name for name in names if name.strip("*") not in told]
    return f"{text}\n\n{_what_users_call(cls)}"


def _what_users_call(cls: type) -> str:
    ours = [vars(each) for each in cls.__mro__ if is_of_library(each) and issubclass(each, Optimizer)]
    functions = {name: None for names in ours for name, each in names.items() if inspect.isfunction(each)}
    own = [name for name in functions if name[0] != "_" and not hasattr(Optimizer, name)]
    return "\n\n".join((
        *((summaries(cls, own, f"Methods of {cls.__name__}"),) if own else ()),
        summaries(cls, _ATTRIBUTES, "Attributes, with the arguments, which can be set"),
        summaries(cls, _STEPS, f"Methods of all optimizers, of which help({cls.__name__}.apply) and so on tell more"),
    ))


def _with_methods(cls: type, text: str) -> str:
    """The page of the base."""
    return "\n\n".join([text, _what_users_call(cls), summaries(cls, _RULES, "Methods for rules of your own")])


def _with_first_convention(cls: type[Optimizer], signature: inspect.Signature) -> inspect.Signature:
    """The signature of a class, with the convention that it has if none is given, unless a constructor has another."""
    own = (inspect.signature(vars(each)["__init__"]).parameters for each in cls.__mro__ if "__init__" in vars(each))
    named = next((each["convention"] for each in own if "convention" in each), None)
    if named is None or named.default is not None or "convention" not in signature.parameters:
        return signature
    shown_there = {**signature.parameters}
    first = next(iter(cls.conventions))
    shown_there["convention"] = shown_there["convention"].replace(default=first, annotation=str)
    return signature.replace(parameters=list(shown_there.values()))


call_methods(Optimizer, "Optimizer", is_of_library)
show_as_page(Optimizer, _with_methods)
Optimizer.own_tables = tables_of(Optimizer)
Optimizer.sometimes_lacked = lacked_in(Optimizer.own_tables)
_own_signature = _with_first_convention(Optimizer, signature_of_init(Optimizer))
Optimizer.__signature__ = _own_signature  # type: ignore[attr-defined]  # read by inspect.signature


def snake_case(name: str) -> str:
    """The name of a class as that of one of its objects."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
