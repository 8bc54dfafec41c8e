"""What a short step does besides its passes over memory: rates, `begin_step`, the scalars of all kernels, counts.

The numbers of a step are a list here. Short ways differ in where that comes from and where what follows goes to, such
as the cells of one optimizer, those of several at once, or a state of the caller's, and in where arrays come from. What
happens in a step, and in which order, is said here for all of them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from ....backends import Variable
from ..rule import Rule
from .begin import Begin
from .scalars import Share, laid_out, layout_of, named_values, rows_of
from .ways import Way

PLAIN = frozenset((float, int))
"""The classes of numbers that the host computes with."""


class Bookkeeping:
    """What steps of one or several optimizers do besides their passes. It does not change.

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
        self._evaluations = [way.evaluate for way, _ in kernels]
        self._scaled = any(rule.loss_scale_factor is not None for rule in rules)
        self.scheduled = [member for member, rule in enumerate(rules) if rule.rate_follows_steps]
        self._begin, self._present, numbers = begin, present[0], rules[0].cells.numbers
        # What `begin_step` reads of each parameter, and what it gives new numbers to.
        self._read = [] if begin is None else [[self.place[id(cell)] for cell in numbers[at]] for at in present[0]]
        self._begun = [] if begin is None else [self.place[id(cell)] for cell in begin.cells(rules[0])]
        # What is given a number and counted too is only counted.
        self._set = sorted({*self._begun}.difference(self._counted))
        self._counted_of = picked(self._counted)
        self.places = [*self._counted, *self._set]
        self.changing = [self.cells[place] for place in self.places]

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
        self.cells = list(dict(zip(map(id, cells), cells, strict=True)).values())
        self.layout = layout_of(rules, self.cells)
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
        divisor = rules[0].loss_scale_factor if self._scaled else None
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
            kernels = zip(self._kernels, self._evaluations, strict=True)
            rows = [rows_of(shares, values, numbers, factors, evaluate) for shares, evaluate in kernels]
        after = [count + 1 for count in self._counted_of(numbers)]
        return rows, [*after, *[numbers[place] for place in self._set]] if self._set else after


def picked(places: Sequence[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """A function of a list that gives what stands in it at some places."""
    run = range(places[0], places[0] + len(places))
    if list(places) == list(run):
        return operator.itemgetter(slice(run.start, run.stop))
    return operator.itemgetter(*places)
