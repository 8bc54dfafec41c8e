"""Several optimizers as one: each parameter has the rule that claims it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, overload

from ...backends import Array, Variable, is_number, ops
from ...backends.wording import called, which_instead
from .claims import check_claims, owners_of, pairs_of
from .conventions import facts_of
from .declaring import settable
from .given import of_shapes, tree_of_parameters
from .optimizer import Optimizer
from .overview import Plan, PlanRow, bytes_of, times
from .synonyms import SYNONYMS


class OfAll(NamedTuple):
    """A setting that concerns the whole model.

    Attributes:
        without: what one of several optimizers has in its place.
        what: it decides, in words. None if it decides nothing where another is off.
    """

    without: Any
    what: str | None


OF_ALL = {
    "global_clipnorm": OfAll(None, "the global norm"),
    "loss_scale_factor": OfAll(None, "the loss scale"),
    "gradient_accumulation_steps": OfAll(None, "accumulation"),
    "use_ema": OfAll(False, "the moving averages"),
    "ema_momentum": OfAll(0.99, None),
    "ema_overwrite_frequency": OfAll(None, None),
}
"""What concerns the whole model, by name."""


class MultiOptimizer(Optimizer):
    r"""Different rules for different parameters, which make their steps together.

    Args:
        rules: a dictionary, or pairs, from what tells parameters to their optimizer. What tells them is a regular
            expression that is searched in the parameter's path, such as "bias$"; a list (as a key: a tuple) of paths;
            or a function of the path and the parameter. In place of an optimizer may stand a dictionary of
            hyperparameters, such as `{"weight_decay": 0.0}`: with these, all else is as in `default`. Exactly one rule
            may claim a parameter.
        default: the optimizer for parameters that no rule claims. None: they are an error.
        learning_rate: what the rates of all rules are multiplied by: a number >= 0, a schedule, or a callable. 1.
        **keywords: see `Optimizer`. `global_clipnorm`, `clipnorm` and `clipvalue`, moving averages, the loss scale,
            gradient accumulation and the count of steps concern the whole model.

    Raises:
        TypeError: if a rule is no optimizer, or what tells parameters is of another kind.
        ValueError: see `Optimizer`; also if a rule has what concerns the whole model, was built already or, at the
            first step, if several rules claim a parameter, none does, or a rule claims none.

    Paths are those of `init`'s tree on the functional path; imperatively the names of parameters, where they have some.
    The rules' own rates, which may be schedules, and their other hyperparameters can be changed in them at any time.

    Example:
        >>> import numpy as np
        >>> from gradwise import optimizers
        >>> params = {"dense/kernel": np.ones((2, 2)), "dense/bias": np.ones(2)}
        >>> optimizer = optimizers.MultiOptimizer({"bias$": optimizers.SGD(0.1)}, default=optimizers.AdamW(1e-3))
        >>> [(row.parameter, row.optimizer) for row in optimizer.plan(params)]
        [('dense/bias', 'sgd'), ('dense/kernel', 'adam_w')]
        >>> state = optimizer.init(params)
        >>> params, state = optimizer.step(params, {name: np.ones_like(array) for name, array in params.items()}, state)
        >>> params["dense/bias"]
        array([0.9, 0.9])
    """

    def __init__(self, rules: Any, default: Any = None, learning_rate: Any = 1.0, **keywords: Any) -> None:
        super().__init__(learning_rate, **keywords)
        owner = type(self).__name__
        if self.weight_decay is not None:
            raise ValueError(
                f"{owner}: `weight_decay` belongs to the rules, received {self.weight_decay!r}: give it to these, "
                f"such as AdamW(1e-3, weight_decay={self.weight_decay!r})."
            )
        given = pairs_of(rules, owner)
        named = _Named()
        self._default = None if default is None else named.name_of(_checked(default, owner))
        self.claims = tuple((pattern, named.name_of(_made(rule, default, owner))) for pattern, rule in given)
        self.optimizers: dict[str, Any] = named.optimizers

    # ---------------------------------------------------------------- the rule

    def build(self, variables: Sequence[Any]) -> None:
        super().build(variables)
        self.owners = self.decided(variables, self.is_part)
        places: dict[str, list[int]] = {name: [] for name in self.optimizers}
        for place, owner in enumerate(self.owners):
            places[owner].append(place)
        for name, optimizer in self.optimizers.items():
            optimizer.cells.places = places[name]
            optimizer.build([variables[place] for place in places[name]])

    def decided(self, variables: Sequence[Any], partly: bool = False) -> tuple[str, ...]:
        """For each parameter the name of its rule in `optimizers`. Nothing is built.

        Args:
            variables: the parameters' cells, under their paths.
            partly: whether there are further parameters, which rules may claim. False.

        Raises:
            ValueError: if several rules claim a parameter, none does, or a rule claims none.
        """
        return owners_of(self.claims, self._default, variables, type(self).__name__, partly)

    def has_begin_step(self) -> bool:
        own = type(self).begin_step is not MultiOptimizer.begin_step
        return own or any(optimizer.has_begin_step() for optimizer in self.optimizers.values())

    def begin_step(self, gradients: Sequence[Array], variables: Sequence[Variable], learning_rate: Any) -> None:
        positions: dict[str, list[int]] = {}
        for position, variable in enumerate(variables):
            positions.setdefault(self.owners[self.variable_index(variable)], []).append(position)
        for name, optimizer in self.optimizers.items():
            own = positions.get(name)
            if own and optimizer.has_begin_step():
                theirs = [variables[position] for position in own]
                optimizer.begin_step(
                    _Prepared(optimizer, gradients, own, theirs), theirs, self._rate_of(optimizer, learning_rate)
                )

    def update_step(self, gradient: Array, variable: Variable, learning_rate: Any) -> None:
        optimizer = self._owner_of(variable)
        gradient = optimizer.prepared_gradient(optimizer.variable_index(variable), gradient, None, None)
        optimizer.descend(gradient, variable, self._rate_of(optimizer, learning_rate))

    def evaluation_value(self, variable: Variable) -> Array:
        return self._owner_of(variable).evaluation_value(variable)

    @property
    def clips_norms(self) -> bool:
        return super().clips_norms or any(optimizer.clips_norms for optimizer in self.optimizers.values())

    def own_norm_limits(self, indices: Sequence[int], built: Any) -> list[Any]:
        limits = super().own_norm_limits(indices, built)
        owners = [self.optimizers[built.owners[index]] for index in indices]
        return [
            limit or owner.own_norm_limits([index], owner)[0]
            for index, limit, owner in zip(indices, limits, owners, strict=True)
        ]

    def _owner_of(self, variable: Variable) -> Optimizer:
        found: Optimizer = self.optimizers[self.owners[self.variable_index(variable)]]
        return found

    def _rate_of(self, optimizer: Optimizer, learning_rate: Any) -> Any:
        return ops.once(ops.multiply, learning_rate, optimizer.step_rate)

    def differences(self, variables: Sequence[Variable]) -> list[Any]:
        return [
            (self.owners[self.variable_index(each)], *self._owner_of(each).differences([each])) for each in variables
        ]

    def check_chosen(self, names: Sequence[str], parameters: Sequence[Any] | None) -> None:
        super().check_chosen(names, parameters)
        if names:
            check_claims(self.claims, names, type(self).__name__, parameters)

    # ---------------------------------------------------------------- reading

    def plan(self, params: Any) -> Plan:
        """What will happen to each parameter: its rule, rate, decay, slots and their bytes; `print` gives a table.

        Args:
            params: what `init` takes; shapes and dtypes suffice.

        Raises:
            ValueError: as the first step, if a parameter is undecided.
        """
        tree = tree_of_parameters(params)
        arrays, _ = of_shapes(tree)
        template, _ = self._new_template(tree.with_leaves(arrays))
        return template.plan_as_built()  # type: ignore[no-any-return]  # of the same class

    def plan_as_built(self) -> Plan:
        """As `plan`, for the parameters that the optimizer was built for."""
        of_each: list[list[Any]] = [[] for _ in self.cells.parameters]
        for named in self.named_cells():
            if named.position is not None:
                of_each[named.position].append(named)
        return Plan(map(self._row, self.cells.parameters, of_each))

    def _row(self, parameter: Variable, named: Sequence[Any]) -> PlanRow:
        name, rule = self.owners[self.variable_index(parameter)], self._owner_of(parameter)
        factor, rate = map(_rate_of, (self, rule))
        return PlanRow(
            parameter.name, parameter.shape, parameter.dtype_name, name,
            times(factor, rate),
            rule.weight_decay if rule._decays(parameter) else None,
            tuple(each.name.rpartition("/")[2] for each in named),
            bytes_of([each.cell for each in named]),
        )  # fmt: skip

    def _known_config(self) -> dict[str, Any]:
        config = super()._known_config()
        del config["weight_decay"]
        fresh = {name: optimizer.unbuilt_copy() for name, optimizer in self.optimizers.items()}
        rules = [
            [list(pattern) if isinstance(pattern, tuple) else pattern, fresh[name]] for pattern, name in self.claims
        ]
        return {**config, "rules": rules, "default": None if self._default is None else fresh[self._default]}


def _rate_of(optimizer: Optimizer) -> Any:
    """The rate that an optimizer was given, a number or a schedule."""
    schedule = optimizer.learning_rate_schedule
    return optimizer.cells.rate.value if schedule is None else schedule


class _Named:
    """Optimizers under names of which no two are the same.

    Attributes:
        optimizers: by their names, in the order in which they came.
    """

    def __init__(self) -> None:
        self.optimizers: dict[str, Optimizer] = {}
        self._names: dict[int, str] = {}
        self._further: dict[str, Iterator[int]] = {}

    def name_of(self, optimizer: Optimizer) -> str:
        """The name of an optimizer, which is kept: its own, with a number where another one has that."""
        if id(optimizer) not in self._names:
            own = name = optimizer.name
            while name in self.optimizers:
                name = f"{own}_{next(self._further.setdefault(own, itertools.count(1)))}"
            self.optimizers[name] = optimizer
            self._names[id(optimizer)] = name
        return self._names[id(optimizer)]


class _Prepared(Sequence[Array]):
    """The gradients of an optimizer's own parameters, each as its rule receives it, made when it is read."""

    def __init__(
        self, optimizer: Optimizer, gradients: Sequence[Array], positions: Sequence[int], variables: Sequence[Variable]
    ) -> None:
        self._optimizer, self._gradients, self._positions, self._variables = optimizer, gradients, positions, variables

    @overload
    def __getitem__(self, position: int) -> Array: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Array]: ...
    def __getitem__(self, position: int | slice) -> Any:
        if isinstance(position, slice):
            return [self[each] for each in range(*position.indices(len(self)))]
        optimizer = self._optimizer
        index = optimizer.variable_index(self._variables[position])
        return optimizer.prepared_gradient(index, self._gradients[self._positions[position]], None, None)

    def __len__(self) -> int:
        return len(self._positions)


def _made(given: Any, default: Any, owner: str) -> Optimizer:
    """A rule's optimizer, which may be the default with other hyperparameters."""
    if not isinstance(given, dict):
        return _checked(given, owner)
    if default is None:
        raise ValueError(
            f"{owner}: the hyperparameters {given!r} alone are no rule: give a `default` to take all others from, "
            f"such as {owner}({{...}}, default=Adam(1e-3))."
        )
    made = copy.copy(_checked(default, owner))
    known = settable(type(made), made)
    for name, value in given.items():
        if name not in known:
            kind, instead = type(made).__name__, which_instead([name], known, "Its hyperparameters", SYNONYMS)
            raise ValueError(f"{owner}: {kind} has no hyperparameter {name!r}.{instead}")
        setattr(made, name, value)
    return _checked(made, owner)


def _instead_of_rule(given: Any) -> str:
    if is_number(given):
        return f": for another rate give {{'learning_rate': {given!r}}}"
    return f": call it, {given.__name__}(...)" if isinstance(given, type) and issubclass(given, Optimizer) else ""


def _checked(given: Any, owner: str) -> Optimizer:
    """An optimizer, if it may be one of several.

    Raises:
        TypeError: if it is none.
        ValueError: if it may not.
    """
    if not isinstance(given, Optimizer):
        raise TypeError(
            f"{owner}: a rule is an optimizer, or a dictionary of hyperparameters that differ from the default's, "
            f"received {called(given)}{_instead_of_rule(given)}."
        )
    if given.built:
        raise ValueError(
            f"{owner}: {given.name!r} was built already, and has state: give its unbuilt_copy(), which has none."
        )
    for name, (without, what) in OF_ALL.items():
        value = getattr(given, name)
        if what is not None and value != without:
            raise ValueError(
                f"{owner}: {given.name!r} has {name}={value!r}, but {what} concerns the whole model: give it to "
                f"{owner} itself."
            )
    if given.clipnorm is not None and facts_of(given.convention).clipnorm_is_global:
        raise ValueError(
            f"{owner}: in convention {given.convention!r}, that of {given.name!r}, `clipnorm` is the norm "
            f"of all gradients: give it to {owner} itself, as `global_clipnorm`."
        )
    return given
