"""A keras.optimizers.Optimizer whose steps are those of a core optimizer."""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, ClassVar

import keras

from ... import optimizers
from ...backends import HOST, compiler_graph, compute_dtype, describe, leaves_scopes
from ...backends.arguments import call_methods, names_with_stars
from ...backends.pages import Paged, first_sentences, show_as_page, summaries, with_arguments
from ...backends.wording import SaidWhenRead
from ...optimizers.core.cells import NamedCell
from ...optimizers.core.checks import as_list, check_no_pair
from ...optimizers.core.declaring import check_declared, declaring, has_no
from ...optimizers.core.hyperparameters import LEARNING_RATE
from ...optimizers.core.memory import MemoryReport
from ...optimizers.core.naming import check_chosen, check_var_list, listed_choices
from ...optimizers.core.origin import is_of_library
from .internals import in_order, in_stateless_scope, model_starting_to_train, outside_of_compiler
from .linking import Link
from .schedules import as_keras, plain, rate_of
from .table import COMMON, KerasRow

BACKENDS = ("torch", "jax", "numpy")
"""Of Keras, on which there are steps here."""
_BY_RATE = "For another rate pass a callable of the step as learning_rate"
_BY_RULE = "For another rule override `update_step(gradient, variable, learning_rate)`"
_BY_STEP = "Override `apply(grads, trainable_variables)`, and do what is yours before or after `super().apply(...)`"
_PARTS_OF_A_STEP = {
    **dict.fromkeys(("learning_rate", "_get_current_learning_rate"), _BY_RATE),
    **dict.fromkeys(
        ("_clip_gradients", "_clip_by_norm"),
        "To change gradients override `apply(grads, trainable_variables)`, and call `super().apply(...)` with others",
    ),
    **dict.fromkeys(("_backend_apply_gradients", "_backend_update_step"), _BY_RULE),
    **dict.fromkeys((
        "_apply_weight_decay", "_backend_increment_gradient_accumulators", "_backend_reset_gradient_accumulators",
        "_update_model_variables_moving_average",
    ), _BY_STEP),
}  # fmt: skip
"""What Keras's `apply` is made of, and a step here is not, so that overriding it would be ignored; and what to do."""
_CALLED_HERE = {"iterations": "to go on from another number call optimizer.iterations.assign(number)"}
_OF_TORCH = {
    name: "model.fit makes the steps; in a loop of your own call apply(grads, trainable_variables)"
    for name in ("step", "zero_grad", "minimize", "init", "update")
}
_AS_IT_IS = contextlib.nullcontext()


class _OfCore:
    """An attribute of the core, under the same name; checked whenever it is set."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else getattr(instance.core, self._name)

    def __set__(self, instance: Any, value: Any) -> None:
        setattr(instance.core, self._name, plain(value))

    def __delete__(self, instance: Any) -> None:
        delattr(instance.core, self._name)


class KerasAdapter(keras.optimizers.Optimizer, metaclass=Paged):
    """Runs a core optimizer on Keras Variables. The base of all classes here.

    All of a step, from loss scale and accumulation to the moving average and constraints, is the core's; all state lies
    in Keras Variables with the names, shapes and order of Keras's own class, so that files of either load in the other.
    On torch parameters change in place; on JAX, and wherever values are traced, steps are pure.

    Args:
        *arguments, **keywords: those of Keras's class, and the older `lr` and `decay`: the rate is divided by
            1 + `decay` * the number of steps made.

    Raises:
        TypeError, ValueError: if an argument is unknown or out of its range.

    Where it differs from Keras: hyperparameters are checked, at any time. Slots of float16 and bfloat16 parameters are
    float32. Constraints act before the moving average is taken, and both only when parameters change; they are those
    that variables have when the optimizer is built. A parameter without a gradient in the last step of an accumulation
    keeps what it has for the next window. Where a layer is frozen, averages stay as they are on JAX; on torch they go
    on towards the parameters. Sparse gradients of JAX are taken as dense ones.

    A subclass may override `update_step` or `apply`. One that overrides only what Keras's own `apply` is made of, such
    as `_clip_gradients`, would not be heard, and is refused with a TypeError where it is defined.
    """

    row: ClassVar[KerasRow]
    _where = "Attributes of its own a class declares in __init__ or build."

    weight_decay, clipnorm, clipvalue, global_clipnorm = _OfCore(), _OfCore(), _OfCore(), _OfCore()
    use_ema, ema_momentum, ema_overwrite_frequency = _OfCore(), _OfCore(), _OfCore()
    loss_scale_factor, gradient_accumulation_steps, decay = _OfCore(), _OfCore(), _OfCore()

    core: optimizers.Optimizer
    built: bool
    _learning_rate: Any
    _chosen: tuple[list[Any], list[str]]
    _chosen_in_core: tuple[list[Any], list[str]]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for name in {"__init__", "build"} & vars(cls).keys():
            setattr(cls, name, declaring(vars(cls)[name]))
        own = [getattr(cls, name, None) is not getattr(KerasAdapter, name, None) for name in _PARTS_OF_A_STEP]
        ignored = list(itertools.compress(_PARTS_OF_A_STEP, own))
        if ignored and cls.apply is KerasAdapter.apply:
            raise TypeError(
                f"{cls.__name__} overrides {', '.join(ignored)}, which a step of gradwise never calls. "
                f"{'. '.join(dict.fromkeys(_PARTS_OF_A_STEP[name] for name in ignored))}."
            )
        show_as_page(cls, _with_common if "row" in vars(cls) else _with_methods, formulas=is_of_library(cls))
        if "row" in vars(cls):
            cls.__signature__ = cls.row.signature  # read by inspect.signature
            for name in (*cls.row.fields, *cls.row.fixed):
                attribute = _OfCore()
                attribute.__set_name__(cls, name)
                setattr(cls, name, attribute)

    @declaring
    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        given = self.row.bound(arguments, keywords)
        self._start(self.row.make(given), given["learning_rate"], given["name"])

    def __setattr__(self, name: str, value: Any) -> None:
        if name[0] != "_":
            check_declared(self, name, self._settable, self._elsewhere, self._where)
        super().__setattr__(name, value)

    if not TYPE_CHECKING:  # For which all attributes would exist.

        def __getattr__(self, name: str) -> Any:
            """Say of an attribute that is misspelt, or that optimizers have elsewhere, what to do here."""
            kind = type(self)
            if name[0] == "_" or "core" not in vars(self):
                raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}")
            if name in _OF_TORCH:
                raise AttributeError(f"{kind.__name__} has no attribute `{name}`: {_OF_TORCH[name]}.")
            raise SaidWhenRead(lambda: has_no(name, kind, self._settable()))

    def _elsewhere(self) -> Mapping[str, str]:
        """For attributes that cannot be set what to do."""
        return _CALLED_HERE

    def _settable(self) -> list[str]:
        """The attributes that users set."""
        return ["learning_rate", *COMMON, "decay", *self.row.fields, *self.row.fixed]

    def _start(self, core: optimizers.Optimizer, rate: Any, name: str | None) -> None:
        # Before Keras's own constructor, which sets what the core holds.
        object.__setattr__(self, "core", core)
        object.__setattr__(self, "_link", None)
        object.__setattr__(self, "_chosen", ([], []))
        object.__setattr__(self, "_chosen_in_core", core.exclusions)
        rate = as_keras(rate) if callable(rate) and not isinstance(rate, keras.Variable) else float(core.learning_rate)
        super().__init__(rate, **{name: getattr(core, name) for name in COMMON}, name=name)
        core.name = self.name

    # ---------------------------------------------------------------- building

    @declaring
    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Create the state for these variables. Later calls for the same ones, or some of them, do nothing.

        Args:
            variables: of a model.

        Raises:
            ValueError: if one is given twice, or has a dtype that cannot be optimized; in a later call, if one is
                unknown.
            RuntimeError: on another backend of Keras than torch, JAX and NumPy.
        """
        if self.built:
            self._check_model(variables)
            return
        if keras.backend.backend() not in BACKENDS:
            raise RuntimeError(
                f"{type(self).__name__} runs on Keras's backends {', '.join(BACKENDS)}, and the backend is "
                f"{keras.backend.backend()}: set KERAS_BACKEND before Keras is imported."
            )
        variables = self._listed(variables)
        positions = {self._var_key(variable): position for position, variable in enumerate(variables)}
        for position, variable in enumerate(variables):
            if positions[self._var_key(variable)] != position:
                raise ValueError(f"Variable {variable.path!r} was given twice: give each variable once.")
        self._check_chosen(variables)
        plainly = [variable for variable in variables if not _is_overwritten(variable)]
        before = len(self._variables)
        link = Link(self.core, plainly, self._made, self._iterations)
        averages, accumulators = self._of_each_variable(link, variables)
        numbers = [link.made[named.cell] for named in self.core.named_cells() if named.position is None]
        self._variables[before:] = in_order(self._variables[before:], averages, accumulators, numbers)
        self._keep_untracked(
            _overwritten=len(plainly) != len(variables), _link=link, _trainable_variables=variables,
            _trainable_variables_indices=positions,
            _places={self._var_key(variable): place for place, variable in enumerate(plainly)},
        )  # fmt: skip
        self._exclude()
        self.built = True

    def _listed(self, given: Any) -> list[keras.Variable]:
        """Variables as a list.

        Raises:
            TypeError: if they are none.
        """
        alone = isinstance(given, keras.Variable)
        variables = [] if alone or given is None else as_list(given, "variables")
        others = [each for each in variables if not isinstance(each, keras.Variable)]
        if alone or given is None or others:
            received = f"the Variable {given.path!r} alone" if alone else describe(others[0] if others else given)
            raise TypeError(
                f"{type(self).__name__} takes a list of Keras Variables, such as model.trainable_variables; received "
                f"{received}."
            )
        return variables

    def _keep_untracked(self, **attributes: Any) -> None:
        """Keep what must not count as variables of the optimizer."""
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    def _of_each_variable(
        self, link: Link, variables: Sequence[keras.Variable]
    ) -> tuple[list[keras.Variable | None], list[keras.Variable]]:
        """The averages and the accumulators of all variables, where there are any, under Keras's names for them."""
        averages: list[keras.Variable | None] = []
        accumulators: list[keras.Variable] = []
        if self.use_ema:
            made = iter(link.made[cell] for cell in self.core.cells.averages)
            averages = [None if _is_overwritten(v) else next(made) for v in variables]
            self._keep_untracked(_model_variables_moving_average=averages)
        if self.gradient_accumulation_steps:
            made = iter(link.made[cell] for cell in self.core.cells.accumulators)
            accumulators = [
                self.add_variable_from_reference(v, "gradient_accumulator") if _is_overwritten(v) else next(made)
                for v in variables
            ]
            self._keep_untracked(_accumulated_gradients=accumulators)
        return averages, accumulators

    def _made(self, named: NamedCell, initial: Any, reference: keras.Variable | None) -> keras.Variable:
        """A Keras Variable for a cell of the core, which may belong to one of the model's."""
        dtype = named.cell.dtype_name
        if named.cell.backend is HOST:
            parameters = self.core.cells.parameters[:1]
            kinds = {compute_dtype(cell.dtype_name) for cell in parameters} or {keras.config.floatx()}
            dtype = "int" if isinstance(initial, int) else kinds.pop()
            if reference is None:
                # Keras's Nadam gives its product no name.
                variable = keras.Variable(initial, dtype=dtype, trainable=False)
                self._track_variable(variable)
                return variable
        name = named.name.replace("/", "_")
        if reference is not None:
            name = f"{reference.path.replace('/', '_')}_{name}"
        # A slot is spread over devices as its variable.
        alike = reference is not None and named.cell.shape == tuple(reference.shape)
        layout = getattr(reference, "_layout", None) if alike and named.cell.backend is not HOST else None
        # Older releases have no layouts, in variables and here.
        placed = {} if layout is None else {"layout": layout}
        with keras.name_scope(self.name, caller=self):
            variable = keras.Variable(initial, dtype=dtype, trainable=False, name=name, **placed)
        self._track_variable(variable)
        return variable

    @property
    def variables(self) -> list[keras.Variable]:
        """All state: step count, learning rate (unless it is a schedule), then slots in the order of Keras's class.

        Raises:
            ValueError: to the training loop of a model that the optimizer was not built for.
        """
        model = model_starting_to_train(self)
        if model is not None and self.built:
            # Later, on values alone, nothing would tell two models of the same shapes apart.
            self._check_model(model.trainable_variables)
        own: list[keras.Variable] = super().variables
        return own

    @property
    def iterations(self) -> keras.Variable:
        """How many calls of `apply` were made, also where several make one update: a Keras Variable."""
        return super().iterations

    # ---------------------------------------------------------------- steps

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[keras.Variable] | None = None) -> None:
        """One step: change variables by their gradients.

        Args:
            grads: one gradient for each variable; None leaves it as it is.
            trainable_variables: those the optimizer was built for, or some of them; the first call builds for them.
                Default: all.

        Raises:
            TypeError, ValueError: if gradients and variables do not fit; nothing has changed then.
        """
        if compiler_graph() is None:
            self._apply(grads, trainable_variables)
        else:
            self._apply_outside(grads, trainable_variables)

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, keras.Variable]]) -> Any:
        """One step from pairs of a gradient and its variable; what `iterations` is after it.

        Args:
            grads_and_vars: such as `zip(grads, model.trainable_variables)`.

        Raises:
            TypeError, ValueError: as `apply`; also if they are no pairs.
        """
        pairs = as_list(grads_and_vars, "pairs of a gradient and its variable")
        if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
            raise TypeError(
                f"{type(self).__name__}.apply_gradients takes pairs of a gradient and its variable, such as "
                "zip(grads, model.trainable_variables)."
            )
        return super().apply_gradients(pairs)

    @leaves_scopes
    def _apply(self, grads: Iterable[Any], trainable_variables: Iterable[keras.Variable] | None) -> None:
        grads = as_list(grads, "gradients")
        if not grads:
            return
        variables = self._variables_of(grads, trainable_variables)
        if any(map(operator.is_, grads, repeat(None))):
            grads, variables = self._filter_empty_gradients(grads, variables)
        # It may be said at any time.
        if self._overwritten or any(map(_is_overwritten, variables)):
            grads, variables = self._overwrite_variables_directly_with_gradients(grads, variables)
        if not grads:
            self._iterations.assign_add(1)
            return
        places: list[int] | None = None
        if variables is not self._trainable_variables:
            places = [self._places[id(variable)] for variable in variables]
        rate = self._learning_rate if isinstance(self._learning_rate, keras.Variable) else None
        in_place = keras.backend.backend() == "torch" and not in_stateless_scope()
        step = self._link.step_in_place if in_place else self._link.step_on_values
        own = type(self).update_step is not KerasAdapter.update_step
        with self._link.obeying(self.update_step) if own else _AS_IT_IS:
            step(grads, places, rate)

    _apply_outside = outside_of_compiler(_apply)

    def _variables_of(self, grads: Sequence[Any], given: Iterable[keras.Variable] | None) -> list[keras.Variable]:
        """The variables of the gradients, which the optimizer is built for if it is not yet."""
        if given is None:
            if not self.built:
                raise ValueError(
                    "When passing `grads` without `variables`, the optimizer must already be built on a list of "
                    "variables. Call `optimizer.build(trainable_variables)` first."
                )
            variables: list[keras.Variable] = self._trainable_variables
        else:
            variables = self._listed(given)
            if not self.built:
                with keras.name_scope(self.name, caller=self):
                    self.build(variables)
            known = self._trainable_variables
            if len(variables) == len(known) and all(map(operator.is_, variables, known)):
                variables = known
            else:
                self._check_variables_are_known(variables)
        if len(variables) != len(grads):
            raise ValueError(
                f"Received {len(grads)} gradients for {len(variables)} variables: they must match one to one (None for "
                "a variable without a gradient)."
            )
        if tuple in set(map(type, grads)):
            # Backends make arrays of these.
            for gradient, variable in zip(grads, variables, strict=True):
                check_no_pair(gradient, f"The gradient of {variable.name!r}")
        return variables

    def stateless_apply(
        self, optimizer_variables: Sequence[Any], grads: Sequence[Any], trainable_variables: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        """One step on given values; neither they nor the optimizer change.

        Args:
            optimizer_variables: values in the order of `variables`.
            grads: a gradient, or None, for each trainable variable.
            trainable_variables: values of those the optimizer was built for. Those of frozen layers may be left out.

        Returns:
            The new values of the trainable variables, and those of the optimizer's.

        Raises:
            ValueError: if the optimizer is not built, or built for another model, or a number of values differs.
        """
        self._check_super_called()
        if not self.built:
            raise ValueError(
                f"To call `stateless_apply`, {type(self).__name__} must be built (i.e. its variables must have been "
                "created). You can build it via `optimizer.build(trainable_variables)`."
            )
        own = self.variables
        if len(optimizer_variables) != len(own):
            raise ValueError(
                f"Argument `optimizer_variables` must be a list of tensors corresponding 1:1 to "
                f"{type(self).__name__}().variables. Received list with length {len(optimizer_variables)}, but "
                f"expected {len(own)} variables."
            )
        variables = self._variables_with_values(trainable_variables)
        mapping = [*zip(variables, trainable_variables, strict=True), *zip(own, optimizer_variables, strict=True)]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            self.apply(grads, variables)
        return [scope.get_current_value(v) for v in variables], [scope.get_current_value(v) for v in own]

    def _variables_with_values(self, values: Sequence[Any]) -> list[keras.Variable]:
        """The variables that some values are those of."""
        known: list[keras.Variable] = self._trainable_variables
        if len(values) == len(known):
            return known
        # Of a model with layers that were frozen after the optimizer was built come the others only.
        unfrozen = [variable for variable in known if variable.trainable]
        if len(values) == len(unfrozen):
            return unfrozen
        raise ValueError(
            f"Argument `trainable_variables` must be a list of tensors corresponding 1:1 to the trainable variables "
            f"that the optimizer was built with. Received {len(values)} tensors; optimizer {self.name!r} was built for "
            f"{len(known)} variables, of which {len(unfrozen)} are not frozen."
        )

    def _check_model(self, variables: Sequence[keras.Variable]) -> None:
        unknown = [v.path for v in variables if self._var_key(v) not in self._trainable_variables_indices]
        if unknown:
            raise ValueError(
                f"Unknown variable: {unknown[0]!r} is not one of the {len(self._trainable_variables)} variables that "
                f"optimizer {self.name!r} was built for. An optimizer serves one model: make a new one for another "
                "model, and after making more layers trainable."
            )

    def _check_variables_are_known(self, variables: Sequence[keras.Variable]) -> None:
        self._check_model(variables)

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        """The rule for one variable, which a subclass may override, as in Keras, and call.

        Overridden, it is called for each variable in each step, and no step is one pass over memory. It receives the
        gradient unscaled and clipped, and the rate as a Python float where the host knows it.

        Args:
            gradient: of the variable; also a Keras Variable that holds it.
            variable: one that the optimizer was built for.
            learning_rate: a number, or a tensor or a Keras Variable of one.

        Raises:
            ValueError: if the optimizer is not built for the variable.
        """
        if not self.built:
            raise ValueError(f"Optimizer {self.name!r} is not built: call build(variables) first.")
        self._check_model([variable])
        self._link.update_one(plain(gradient), variable, plain(learning_rate))

    # ---------------------------------------------------------------- learning rate

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the next step, before `decay`: a Keras Variable, or what a schedule gives.

        Set it to a number >= 0 as long as it is a Variable; to a schedule, of Keras or of the core, or a callable of
        nothing or of the step at any time. After that it stays one.
        """
        return self._get_current_learning_rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        held = self._learning_rate
        if callable(value) and not isinstance(value, keras.Variable):
            self.core.learning_rate = rate_of(value)
            self._learning_rate = as_keras(value)
            if isinstance(held, keras.Variable):
                self._untrack_variable(held)
        elif isinstance(held, keras.Variable):
            held.assign(LEARNING_RATE.checked(plain(value), type(self).__name__))
        else:
            raise TypeError(
                "This optimizer was created with a `LearningRateSchedule` or a callable as its `learning_rate`, hence "
                "its learning rate is not settable to a number: assign another schedule, or make "
                f"`{type(self).__name__}(learning_rate=...)` with a number."
            )

    @property
    def lr(self) -> Any:
        """`learning_rate` under its older name."""
        return self.learning_rate

    @lr.setter
    def lr(self, value: Any) -> None:
        self.learning_rate = value

    def _get_current_learning_rate(self) -> Any:
        if callable(self._learning_rate) and not isinstance(self._learning_rate, keras.Variable):
            return keras.ops.convert_to_tensor(self.core.base_rate_at(plain(self._iterations), None))
        return self._learning_rate

    # ---------------------------------------------------------------- around training

    def exclude_from_weight_decay(
        self, var_list: Sequence[keras.Variable] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Leave variables out of weight decay. Each call replaces the last; it may come before or after `build`.

        Args:
            var_list: variables, by identity.
            var_names: regular expressions, searched in the variable's name, such as "bias".

        Raises:
            TypeError: if one is no list, of variables or of text.
            ValueError: when the optimizer is built, if an expression is found in no name, or a variable is unknown.
        """
        variables, names = listed_choices(var_list, var_names)
        check_var_list([None if isinstance(each, keras.Variable) else each for each in variables])
        super().exclude_from_weight_decay(variables, names)
        object.__setattr__(self, "_chosen", (variables, names))
        self._exclude()

    def _check_chosen(self, variables: Sequence[keras.Variable]) -> None:
        """Raise ValueError if what was excluded from weight decay is not among some variables."""
        called = f"optimizer {self.name!r}"
        for (excluded, patterns), names in (
            (self._chosen, [variable.name for variable in variables]),
            (self._chosen_in_core, [variable.path for variable in variables]),
        ):
            check_chosen(excluded, patterns, names, variables, called)

    def _exclude(self) -> None:
        if self._link is not None:
            pairs = zip(self.core.cells.parameters, self._link.variables, strict=True)
            excluded = [cell for cell, v in pairs if not self._use_weight_decay(v)]
            self.core.exclude_from_weight_decay(excluded, self._chosen_in_core[1])

    def _overwrite_model_variables_with_average_value(self, trainable_variables: Sequence[keras.Variable]) -> None:
        # By identity, because of frozen layers not all variables may be given.
        self._check_model(trainable_variables)
        for variable in trainable_variables:
            average = self._model_variables_moving_average[self._get_variable_index(variable)]
            if average is not None:
                # On JAX two variables must not share an array, which both would give away in the next step.
                variable.assign(keras.ops.copy(average))

    def memory(self, trainable_variables: Iterable[keras.Variable] | None = None) -> MemoryReport:
        """How many bytes the state takes, by slot and by variable; `print` shows a table.

        Args:
            trainable_variables: such as `model.trainable_variables`. Default: those that the optimizer was built for.

        Raises:
            ValueError: if there are none.
        """
        given = trainable_variables
        given = self._listed(given) if given is not None else self._link.variables if self.built else ()
        pairs = [(variable.path, variable) for variable in given if not _is_overwritten(variable)]
        if not pairs:
            raise ValueError(f"Optimizer {self.name!r} has no variables yet: give memory(model.trainable_variables).")
        report: MemoryReport = self.core.unbuilt_copy().memory(pairs)
        return report

    # ---------------------------------------------------------------- configuration

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this optimizer again, those of Keras's class; older ones if they are in use."""
        config: dict[str, Any] = super().get_config()
        config.update({name: getattr(self.core, name) for name in self.row.fields})
        # What Keras does not know stands there only if it changes something.
        older = {"decay": 0.0, **self.row.fixed}
        held = {name: getattr(self.core, name) for name in older}
        config.update({name: value for name, value in held.items() if value != older[name]})
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        """An optimizer from what `get_config` gave, also that of Keras's class; `config` does not change.

        Args:
            config: the arguments.
            custom_objects: classes by name, for schedules that Keras does not know.
        """
        if not isinstance(config, Mapping):
            raise TypeError(f"{cls.__name__}: expected a dictionary of arguments by name, received {describe(config)}.")
        return super().from_config(dict(config), custom_objects)


# As users know what they inherit.
Optimizer = KerasAdapter
call_methods(KerasAdapter, "Optimizer", is_of_library)

_ATTRIBUTES = ("learning_rate", "iterations", "variables")
_METHODS = (
    "build", "apply", "apply_gradients", "stateless_apply", "update_step", "exclude_from_weight_decay",
    "finalize_variable_values", "scale_loss", "set_weights", "get_config", "from_config", "memory",
    "save_own_variables", "load_own_variables", "add_optimizer_variables", "add_variable_from_reference",
    "add_variable", "assign", "assign_add", "assign_sub",
)  # fmt: skip
"""What users read and call, and what their own rules do; those of Keras's own among them."""


def _with_methods(cls: type, text: str) -> str:
    """The page of a class, with what users of all optimizers read and call."""
    return "\n\n".join((
        text,
        summaries(cls, _ATTRIBUTES, "Attributes, with the arguments, which can be set"),
        summaries(cls, _METHODS, f"Methods, of which help({cls.__name__}.apply) and so on tell more"),
    ))


def _with_common(cls: type[KerasAdapter], text: str) -> str:
    """The page of a class, with what all have: arguments, and what users read and call."""
    of_core = first_sentences(str(optimizers.Optimizer.__doc__))
    told = {**of_core, "kwargs": "`lr`, `decay` and `epsilon=None`, as in Keras 2."}
    text = with_arguments(text, names_with_stars(cls.row.signature), told, "Arguments of all optimizers")
    return _with_methods(cls, text)


def _is_overwritten(variable: Any) -> bool:
    """Whether a variable takes its gradient as its new value. Only newer releases have a method that asks."""
    return bool(getattr(variable, "overwrite_with_gradient", False))
