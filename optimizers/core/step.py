"""One step: all that happens in it besides the rule, and in which order.

A step has a learning rate, which may follow from the number of steps made. Gradients are summed up over a window, where
accumulation is asked for, unscaled, and multiplied by what keeps their norms to limits. Then the rule begins the step,
each parameter is updated, and what counts steps is counted. Whoever adds something to a step adds it here.

The order stands here twice, because steps are made of two kinds of things. `StepMaker` works on what the cells hold:
the user's arrays, a functional state, tracers, or symbols; anything may be unknown, and user's code may run at every
point. `Bookkeeping` does the same for steps that repeat, where all numbers are known to be Python's and all of the
user's code was recorded: then it is arithmetic on a list. What the single things are, rates, factors, `begin_step`,
scalars and which cells count, is one function each that both call.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

from ...backends import Variable, backend_of, commit, is_number, ops, shown
from ...schedules.base import as_float
from .building import CellKeeper
from .conventions import ConventionFacts, facts_of
from .fused.begin import Begin
from .fused.scalars import PLAIN, Share, laid_out, layout_of, named_values, picked, rows_of
from .fused.ways import Way
from .gradients import Gradients, Incoming, WindowSums, divisors_of
from .hyperparameters import LEARNING_RATE, in_use
from .own_rules.rehearsal import TRIAL, is_to_be_tried, rehearse
from .prepared import Later, Run, at_once
from .rule import Rule

_ROOM = 2**16
"""Rules look ahead of their step, where there must still be numbers."""


class StepMaker(CellKeeper):
    """Makes steps on what the cells hold now. A base of `Optimizer`; see there for the meaning of the attributes."""

    convention: str
    clipnorm: float | None
    global_clipnorm: float | None
    ema_overwrite_frequency: int | None
    _schedule: Callable[..., Any] | None

    # ---------------------------------------------------------------- counts

    def step_of(self, variable: Variable) -> Any:
        """The number of this update for a parameter, from 1: a Python int, or a traced integer.

        In convention "torch" the updates in which the parameter had a gradient count, elsewhere all updates.
        """
        count = self.cells.steps[self.variable_index(variable)].value if self.cells.steps else self.iterations
        return ops.once(count_after, count, _ROOM)

    @property
    def iterations(self) -> Any:
        """The number of updates made so far: `calls_made` divided by `gradient_accumulation_steps`, rounded down.

        Of pure steps a state's `iterations` counts calls; `updates_at(state)` is what this is.
        """
        return self.updates_after(self.calls_made)

    @property
    def calls_made(self) -> Any:
        """The number of `apply` calls made so far, with which schedules are asked.

        Without `gradient_accumulation_steps` each call makes an update, and this is the same as `iterations`.
        """
        return self.cells.iterations.value

    def updates_after(self, calls: Any) -> Any:
        """How many updates so many calls make.

        Args:
            calls: a count: a Python int, or a traced integer.
        """
        every = self.calls_each_update
        return calls if every is None else ops.once(operator.floordiv, calls, every)

    @property
    def _turn(self) -> int:
        """The number of calls after which all that happens every so many steps has come round."""
        return (self.gradient_accumulation_steps or 1) * (self.ema_overwrite_frequency or 1)

    # ---------------------------------------------------------------- gradients

    def _make_own_slots(self) -> None:
        self.cells.accumulators = []
        if self.gradient_accumulation_steps is not None:
            self.cells.accumulators = self.add_optimizer_variables(self.cells.parameters, "gradient_accumulator")
        if self._counts_steps_of_each():
            self.cells.steps = self._scalars_of_each("step", 0)

    def _counts_steps_of_each(self) -> bool:
        """Whether each parameter counts its steps."""
        return facts_of(self.convention).counts_steps_of_each

    @property
    def gradient_divisor(self) -> float | None:
        """What the gradients of an update are divided by, or None."""
        return divisors_of(self).update

    # ---------------------------------------------------------------- rates

    def rate_at(self, count: Any, rate: Any) -> Any:
        """The learning rate that holds at a count of `apply` calls, given the settable one."""
        rate = self.base_rate_at(count, rate)
        return rate / (1.0 + self.decay * as_float(count)) if in_use(self.decay) else rate

    @property
    def step_rate(self) -> Any:
        """The rate of the step that is being made."""
        return self.rate_at(self.cells.iterations.value, self.cells.rate.value)

    @property
    def rate_follows_steps(self) -> bool:
        """Whether the learning rate of a step depends on how many were made, or is what a user's code gives."""
        return self._schedule is not None or in_use(self.decay)

    def _rate_is_state(self) -> bool:
        return self._schedule is None

    def base_rate_at(self, count: Any, rate: Any) -> Any:
        """The rate before `decay`, which a schedule or callable may give."""
        if self._schedule is None:
            return rate
        given = self._schedule(count)
        try:
            return LEARNING_RATE.checked(given, type(self).__name__)
        except ValueError as error:
            said = f"{str(error).removesuffix('.')}, from its schedule at step {shown(count)}."
            remedy = " Let it return max(value, 0.0)." if is_number(given) and given < 0 else ""
            raise ValueError(f"{said}{remedy}") from None

    # ---------------------------------------------------------------- the order

    def _run(self, gradients: Sequence[Any], rate: Any = None, later: Later = at_once) -> None:
        """One step for the parameters whose gradient is not None; `gradients` stand in the order of the parameters.

        Args:
            gradients: one for each parameter, or None.
            rate: of this step. Default: the optimizer's.
            later: by a step in place, takes all that writes, piece by piece in their order. When all that may fail has
                been done, they may be called, in the scopes of this. Default: each is called at once.
        """
        count = self.cells.iterations.value
        self._tell_inside()
        if rate is None:
            rate = self.rate_at(count, self.cells.rate.value)
        every = self.gradient_accumulation_steps
        if every is None:
            self._update(Gradients(self, gradients), rate, later)
        else:
            ops.cond(
                ops.once(count_after, count, 0, self._turn) % every == 0,
                lambda: self._update_from_accumulators(gradients, rate, later),
                lambda: self._accumulate(gradients, later),
            )
        later(lambda: self.cells.iterations.assign(ops.once(count_after, count, 0, self._turn)))

    def _accumulate(self, gradients: Sequence[Any], later: Later) -> None:
        incoming = Incoming(self, gradients)

        def write() -> None:
            for index in incoming.present:
                with self.parameter_scope(index) as scope:
                    self.cells.accumulators[index].assign_add(incoming.share(index))
                commit(scope)

        later(write)

    def _update_from_accumulators(self, gradients: Sequence[Any], rate: Any, later: Later) -> None:
        # The last gradients of a window go straight into the update: if that fails, the accumulators are as they were.
        # A parameter without a gradient on the last call keeps what it has for the next window: nothing is lost.
        summed = WindowSums(self, gradients)
        self._update(summed, rate, later)

        def write() -> None:
            for index in summed.present:
                accumulator = self.cells.accumulators[index]
                accumulator.assign(ops.zeros_like(accumulator))

        later(write)

    def _try_out(self, gradients: Gradients, rate: Any) -> None:
        with TRIAL:
            # Another thread may have been the first.
            if not self.fusion.rehearsed:
                rehearse(self, gradients, rate)
            self.fusion.rehearsed = True

    def _update(self, gradients: Gradients, rate: Any, later: Later) -> None:
        gradients.clip()
        if not self.fusion.rehearsed:
            # A lock would break the graph of a step that torch compiles.
            if is_to_be_tried(self):
                self._try_out(gradients, rate)
            self.fusion.rehearsed = True
        # What began a step goes on with it, also if `begin_step` changes what the next one is.
        fusion = self.fusion
        fused, run = fusion.prepare(self, gradients, rate, fusion.begin(self, gradients, rate))
        alone = [
            index
            for index in range(len(self.cells.parameters))
            if index not in fused and (index in gradients.present or self.use_ema)
        ]
        self._update_held(run, alone, gradients, rate, later)
        if not self.cells.counts:
            return

        def count() -> None:
            for steps in self.cells.counted(gradients.present):
                steps.assign(ops.once(count_after, steps.value))

        later(count)

    def _update_held(self, run: Run, alone: Sequence[int], gradients: Gradients, rate: Any, later: Later) -> None:
        """Update what `run` does in one pass and the others; what may fail at once, and what only writes later."""
        raise NotImplementedError

    # ---------------------------------------------------------------- norms

    @property
    def clips_norms(self) -> bool:
        """Whether gradients are multiplied by a number, so that norms keep to limits."""
        return self.clipnorm is not None or self.global_clipnorm is not None

    def own_norm_limits(self, indices: Sequence[int], built: Rule) -> list[tuple[float, ConventionFacts] | None]:
        """For each of some parameters the limit of its gradient's own norm, and whose facts hold for it; or None.

        Args:
            indices: of the parameters.
            built: this, or one like it that was built for them.
        """
        facts = facts_of(self.convention)
        own = None if self.clipnorm is None or facts.clipnorm_is_global else (self.clipnorm, facts)
        return [own] * len(indices)

    def clip_factors(
        self, arrays: Sequence[Any], squares: Sequence[Any] | None = None, built: Rule | None = None
    ) -> dict[int, Any]:
        """What the gradients that are not None are multiplied by, so that their norms keep to the limits.

        Args:
            arrays: a gradient, or None, for each parameter.
            squares: of each gradient the sum of its squares, where that is known.
            built: an optimizer like this that was built for the parameters, if this was not.
        """
        gradients = Gradients(self, arrays)
        gradients.clip(squares, built)
        factors = [gradients.factor(index) for index in gradients.present]
        # A factor of all is one object.
        numbers = {key: ops.convert_to_number(each) for key, each in {id(each): each for each in factors}.items()}
        return {index: numbers[id(each)] for index, each in zip(gradients.present, factors, strict=True)}


class Bookkeeping:
    """What steps that repeat, of one or several optimizers, do besides their passes. It does not change.

    The numbers of a step are a list. Where that comes from and where what follows goes to is another thing for the
    cells of one optimizer, those of several at once, and a state of the caller's; what happens is the same.

    Args:
        rules: the optimizers, or others of the same structure.
        present: for each the positions of its parameters that have a gradient.
        kernels: for each kernel how it runs, and for which parameters of which optimizers, by their positions.
        begin: `begin_step`, or None if there is none; there is none where there are several optimizers.
        further: cells of other numbers that shall be among those of a step.

    Attributes:
        cells: of the numbers of a step but for the rates, whose cells may be others, and which stand behind them.
        layout: of these numbers.
        place: the place of each cell, by its identity.
        changing: the cells of all numbers that a step changes.
        places: of these.
        scheduled: which optimizers have other rates in a step than those that are set.
    """

    def __init__(
        self, rules: Sequence[Rule], present: Sequence[Sequence[int]],
        kernels: Sequence[tuple[Way, Sequence[tuple[int, Sequence[int]]]]], begin: Begin | None = None,
        further: Sequence[Variable] = (),
    ) -> None:  # fmt: skip
        self._backend = rules[0].cells.parameters[0].backend
        self._lay_out(rules, present, kernels, further)
        # Whether kernels read nothing that some parameters have of their own.
        self._same_for_all = len(rules) == 1 and not any(share.names for shares in self._kernels for share in shares)
        self._evaluations = tuple([way.evaluate for way, _ in kernels])
        self._divided = any([rule.gradient_divisor is not None for rule in rules])
        self.scheduled = tuple([member for member, rule in enumerate(rules) if rule.rate_follows_steps])
        self._begin, self._present, numbers = begin, present[0], rules[0].cells.numbers
        # What `begin_step` reads of each parameter, and what it gives new numbers to.
        self._read = [] if begin is None else [[self.place[id(cell)] for cell in numbers[at]] for at in present[0]]
        self._begun = [] if begin is None else [self.place[id(cell)] for cell in begin.cells(rules[0])]
        # What is given a number and counted too is only counted.
        self._set = tuple(sorted({*self._begun}.difference(self._counted)))
        self._counted_of = picked(self._counted)
        self.places = [*self._counted, *self._set]
        self.changing = tuple([self.cells[place] for place in self.places])

    @staticmethod
    def serves(rule: Rule, count: int) -> bool:
        """Whether every step in which so many parameters have a gradient is an update, and of these alone."""
        return not rule.gradient_accumulation_steps and (not rule.use_ema or count == len(rule.cells.parameters))

    def _lay_out(
        self, rules: Sequence[Rule], present: Sequence[Sequence[int]],
        kernels: Sequence[tuple[Way, Sequence[tuple[int, Sequence[int]]]]], further: Sequence[Variable],
    ) -> None:  # fmt: skip
        """Give every number its place in the list."""
        cells: list[Variable] = []
        self._kernels: list[list[Share]] = [
            [laid_out(member, indices, [rules[member].cells.numbers[at] for at in indices] if way.uses_numbers else [],
                      cells) for member, indices in shares]
            for way, shares in kernels
        ]  # fmt: skip
        all_present = list(zip(rules, present, strict=True))
        counts = [cell for rule, indices in all_present for cell in rule.cells.counted(indices)]
        cells += [*counts, *further]
        cells += [cell for rule, indices in all_present for at in indices for cell in rule.cells.numbers[at]]
        # Each once.
        cells = list(dict(zip(map(id, cells), cells, strict=True)).values())
        self.layout = layout_of(rules, cells)
        self.cells = tuple(cells)
        self.place = dict(zip(map(id, self.cells), range(len(self.cells)), strict=True))
        first = self.layout.first
        self._counted = [*sorted(map(self.place.__getitem__, map(id, counts))), *range(first, first + len(rules))]

    @property
    def only_counts(self) -> bool:
        """Whether a step changes no numbers but counts."""
        return self._begin is None

    def scheduled_rates(self, rules: Sequence[Rule], numbers: list[Any]) -> list[Any]:
        """The rate of each optimizer, where those that are `scheduled` have other ones than that which is set.

        Args:
            rules: the optimizers.
            numbers: of the step.

        Raises:
            What a schedule raises. That is code of the user's, the last that runs before memory is looked at.
        """
        first, members, _ = self.layout
        rates = numbers[-members:]
        for member in self.scheduled:
            rates[member] = rules[member].rate_at(numbers[first + member], rates[member])
        return rates

    def factors(
        self, rule: Rule, gradients: Sequence[Any], squares: list[float] | None, built: Rule | None = None
    ) -> dict[int, Any] | None:
        """What gradients that are clipped by norms are multiplied by, by position; None if one lies on a device.

        Args:
            rule: the only optimizer.
            gradients: one for each parameter, or None.
            squares: of each gradient the sum of its squares, where that is known.
            built: an optimizer like it that was built for the parameters, if that was not.
        """
        with self._backend.arithmetic():
            factors = rule.clip_factors(gradients, squares, built)
        return factors if PLAIN.issuperset(map(type, factors.values())) else None

    def reckoned(
        self, rules: Sequence[Rule], rates: Sequence[Any], numbers: list[Any], attributes: Sequence[dict[str, Any]],
        factors: dict[int, Any],
    ) -> tuple[list[list[Any]], list[Any]] | None:  # fmt: skip
        """For each kernel the rows of scalars that it runs with, and what `changing` numbers are after the step.

        None if a rate, or what `begin_step` gives, is no number of the host's.

        Args:
            rules: the optimizers.
            rates: of the step.
            numbers: before it.
            attributes: the numbers among each optimizer's attributes, by their names in programs.
            factors: from `factors`; where nothing is clipped, nothing.

        Raises:
            What a scalar of the rule raises.
        """
        for rate in rates:
            if type(rate) not in PLAIN:
                return None
        divisor = rules[0].gradient_divisor if self._divided else None
        values = named_values(rates, numbers, attributes, divisor, self.layout)
        if self._begin is not None:
            own = [[numbers[place] for place in places] for places in self._read]
            begun = self._begin.run(rules[0], values[0], list(map(factors.get, self._present)), own)
            if not PLAIN.issuperset(map(type, begun)):
                return None
            numbers = list(numbers)
            for place, number in zip(self._begun, begun, strict=True):
                numbers[place] = number
            values = named_values(rates, numbers, attributes, divisor, self.layout)
        if self._same_for_all and not factors:
            rows = [[evaluate(values[0])] for evaluate in self._evaluations]
        else:
            same = repeat(values), repeat(numbers), repeat(factors)
            rows = list(map(rows_of, self._kernels, *same, self._evaluations))
        after = [count + 1 for count in self._counted_of(numbers)]
        return rows, [*after, *[numbers[place] for place in self._set]] if self._set else after


def count_after(count: Any, room: int = 0, turn: int = 1) -> Any:
    """The count after a count; see `Backend.following`."""
    backend = backend_of(count)
    return count + 1 if backend is None else backend.following(count, room, turn)


