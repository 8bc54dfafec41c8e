"""Containers of numbers: the 0-d tensors in which torch keeps counts in its state (see `frontends.pairing`)."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy
import torch

from ...optimizers.core.insertion import Insertion, inverse
from ..pairing import Numbers

# Calls of methods through `map` take half as long as in a loop, and this is done in every step.
_data_ptr = torch.Tensor.data_ptr
_is_neg = torch.Tensor.is_neg
_is_on_cpu, _axes_of = operator.attrgetter("is_cpu"), operator.attrgetter("ndim")
_dtype_of, _needs_gradient = operator.attrgetter("dtype"), operator.attrgetter("requires_grad")
_READ_BY_NUMPY = frozenset((torch.float32, torch.float64, torch.int32, torch.int64))


def new_number_tensors(
    values: Sequence[float], dtype: torch.dtype, devices: Sequence[torch.device] | None
) -> list[torch.Tensor]:
    """0-d tensors, views of one buffer if they may lie on the CPU, so that one write changes them all.

    Args:
        values: what they hold.
        dtype: of all.
        devices: where they must lie. None is the CPU.
    """
    if devices is None:
        return list(torch.tensor(list(values), dtype=dtype, device="cpu").unbind())
    return [torch.tensor(value, dtype=dtype, device=place) for value, place in zip(values, devices, strict=True)]


class _Run(NamedTuple):
    """Numbers side by side in memory.

    Attributes:
        places: of which parameters, in the order in which they lie.
        whole: a tensor over all of them, which keeps their memory.
        view: a NumPy array over them, which is read and written in a tenth of the time.
    """

    places: list[int]
    whole: torch.Tensor
    view: Any


class NumberTensors:
    """One number for each parameter, in tensors of the state.

    The tensors are what counts. They are read in each step, because anybody may write to them in any way: through
    `.data`, as NumPy arrays, from another process. Each is asked where it lies before memory is used that was known:
    that memory is kept alive, so what lies there now is what lay there, or looks at the same bytes.

    Args:
        tensors: of the state, one for each parameter.

    Attributes:
        tensors: as given.
    """

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        self.tensors = list(tensors)
        # Nothing is looked at before it is needed: the tensors may lie on a device.
        self._asked: list[torch.Tensor] = []
        self._addresses: list[int] | None = None
        self.runs: list[_Run] = []
        self._wholes: list[torch.Tensor] = []
        # For each parameter whose number is in a run, that run's view and the position in it, once some are written.
        self._where: dict[int, tuple[Any, int]] | None = None
        self._starts: list[int] = []
        self._apart: list[int] = []
        # Puts what is read, run by run, into the order of the parameters.
        self._in_order: Callable[[list[Any]], Sequence[Any]] | None = None
        # All of them, where all lie side by side in that order.
        self._view: Any = None
        self._kind: Any = None

    # ---------------------------------------------------------------- reading and writing

    def held(self) -> list[Any]:
        """See `Containers`."""
        try:
            if list(map(_data_ptr, self._asked)) != self._addresses:
                self._look()
        except RuntimeError:
            # A tensor that has no memory any more.
            self._look()
        return self._values() if self._view is None else self._view.tolist()

    def writing(self, values: Sequence[Any], places: Sequence[int] | None) -> tuple[list[partial[Any]], Iterable[Any]]:
        """See `Containers`."""
        if list(map(_data_ptr, self._wholes)) != self._starts:
            # Another thread moved the memory since it was read, as a queue does that sends it to another process.
            self._look()
        if self._view is None or places is not None:
            return [partial(self._write_some, values, places)], map(operator.call, (self._values,))
        if values.count(values[0]) == len(values):
            # As most are, and six times as fast.
            held = self._kind(values[0])
            return [partial(self._view.fill, held)], [held.item()] * len(values)
        held = numpy.array(values, self._kind)
        return [partial(self._view.__setitem__, ..., held)], held.tolist()

    def _write_some(self, values: Sequence[Any], places: Sequence[int] | None) -> None:
        if places is None:
            for run in self.runs:
                run.view[:] = [values[place] for place in run.places]
        elif self._where is None:
            self._where = {
                place: (run.view, position) for run in self.runs for position, place in enumerate(run.places)
            }
        where = self._where or {}
        with torch.no_grad():
            for place in self._apart if places is None else places:
                if place in where:
                    view, position = where[place]
                    view[position] = values[place]
                else:
                    self.tensors[place].fill_(values[place])

    def _values(self) -> list[Any]:
        values = [value for run in self.runs for value in run.view.tolist()]
        values += [self.tensors[place].item() for place in self._apart]
        return values if self._in_order is None else list(self._in_order(values))

    # ---------------------------------------------------------------- where the tensors lie

    def _look(self) -> None:
        """Find out which tensors lie side by side on the CPU. The others are read and written one by one."""
        everyone = range(len(self.tensors))
        places: Sequence[int] = everyone
        if not are_plain(self.tensors):
            places = [place for place, tensor in enumerate(self.tensors) if _is_plain(tensor)]
        apart = sorted(set(everyone).difference(places)) if len(places) < len(everyone) else []
        runs = [_run(own, self.tensors[own[0]]) for own in _side_by_side(self.tensors, places)]
        # If memory is replaced in place, as `share_memory_` does, the tensors over it show that, the views do not.
        asked = [self.tensors[place] for place in places]
        asked += [run.whole for run in runs if len(run.places) > 1]
        self._remember(runs, apart, asked, list(map(_data_ptr, asked)))

    def joined(self, another: NumberTensors, insertion: Insertion) -> NumberTensors:
        """These and another's, of which it is known where they lie if it is of both.

        Args:
            another: tensors of further parameters.
            insertion: where these stand among all.
        """
        both = NumberTensors(insertion.joined(self.tensors, another.tensors))
        if self._addresses is None or another._addresses is None:
            return both
        # Those that stand where they stood stay as they are: of thousands, each made anew, much is garbage.
        runs = [*(self.runs if insertion.behind else _moved(self.runs, insertion.known))]
        runs += _moved(another.runs, insertion.further)
        parts = (self, insertion.known), (another, insertion.further)
        apart = sorted([places[each] for own, places in parts for each in own._apart])
        both._remember(runs, apart, self._asked + another._asked, self._addresses + another._addresses)
        return both

    def _remember(
        self, runs: list[_Run], apart: list[int], asked: list[torch.Tensor], addresses: list[int]
    ) -> None:
        """What was found out, and which tensors show by their addresses whether it still holds."""
        self.runs, self._apart, self._asked, self._addresses, self._where = runs, apart, asked, addresses, None
        order = [*itertools.chain.from_iterable([run.places for run in runs]), *apart]
        ordered = order == list(range(len(order)))
        self._in_order = None if ordered else operator.itemgetter(*inverse(order))
        self._wholes = [run.whole for run in self.runs]
        self._starts = list(map(_data_ptr, self._wholes))
        self._view = self.runs[0].view if len(self.runs) == 1 and not self._apart and ordered else None
        self._kind = None if self._view is None else self._view.dtype.type


def _moved(runs: Sequence[_Run], places: Sequence[int]) -> list[_Run]:
    """The same once the parameters have other places."""
    return [_Run(list(map(places.__getitem__, run.places)), run.whole, run.view) for run in runs]


def _side_by_side(tensors: Sequence[torch.Tensor], places: Sequence[int]) -> list[list[int]]:
    """The places of numbers that lie one after another in memory, together, in that order.

    Those of parameters that had their first gradients at different times lie in different memory, by turns.
    """
    by_dtype: dict[torch.dtype, list[int]] = {}
    for place, dtype in zip(places, map(_dtype_of, map(tensors.__getitem__, places)), strict=True):
        by_dtype.setdefault(dtype, []).append(place)
    runs: list[list[int]] = []
    for dtype, own in by_dtype.items():
        size, following, end = dtype.itemsize, None, 0
        addresses = list(map(_data_ptr, map(tensors.__getitem__, own)))
        expected = list(range(addresses[0], addresses[0] + size * len(own), size))
        if addresses == expected and addresses[-1] + size <= _end(tensors[own[0]]):
            # As most do, and told in a fifth of the time.
            runs.append(own)
            continue
        for address, place in sorted(zip(addresses, own, strict=True)):
            # What lies in memory that is kept lies there for all who look at it, whichever storage they have.
            if address == following and address + size <= end:
                runs[-1].append(place)
            else:
                end = _end(tensors[place])
                runs.append([place])
            following = address + size
    return sorted(runs)


def _end(tensor: torch.Tensor) -> int:
    """The address where the memory ends in which a tensor lies."""
    storage = tensor.untyped_storage()
    return storage.data_ptr() + storage.nbytes()


def merged(
    one: Numbers[NumberTensors], another: Numbers[NumberTensors], insertion: Insertion
) -> Numbers[NumberTensors]:
    """One number of each parameter of two groups of them.

    Args:
        one: those of some parameters.
        another: the same numbers of further ones.
        insertion: where these stand among all.

    Raises:
        LookupError: if parameters share them.
    """
    known, further = len(insertion.known), len(insertion.further)
    alike = one.counts is another.counts and (len(one.cells), len(another.cells)) == (known, further)
    if one.shared or another.shared or not alike:
        raise LookupError("they have other numbers")
    seen = None
    if one.seen is not None:
        another.read()
        assert another.seen is not None
        seen = insertion.joined(one.seen, another.seen)
    cells = insertion.joined(one.cells, another.cells)
    return Numbers(cells, one.containers.joined(another.containers, insertion), seen)


def joined(several: Sequence[Sequence[Numbers[NumberTensors]]]) -> list[Numbers[NumberTensors]]:
    """The numbers of several optimizers, read and written together.

    Args:
        several: those of each, of the same kinds in the same order.

    Raises:
        LookupError: if they are of other kinds, or parameters of one optimizer share them.
    """
    kinds = {tuple(numbers.counts for numbers in own) for own in several}
    if len(kinds) > 1 or any(numbers.shared for own in several for numbers in own):
        raise LookupError("they have other numbers")
    return [
        Numbers(
            [cell for numbers in column for cell in numbers.cells],
            NumberTensors([tensor for numbers in column for tensor in numbers.containers.tensors]),
        )
        for column in zip(*several, strict=True)
    ]


def floats(values: Sequence[Any]) -> list[float]:
    """Numbers, of which each may be in a tensor, as Python's."""
    if values and are_plain(values) and len(set(map(_dtype_of, values))) == 1:
        # In a tenth of the time.
        return list(map(float, torch.stack(list(values)).tolist()))
    return list(map(float, values))


def are_plain(tensors: Sequence[Any]) -> bool:
    """Whether all are plain tensors of one number.

    One question after another is asked of all: of each alone, all questions take three times as long.
    """
    return (
        set(map(type, tensors)) == {torch.Tensor}
        and all(map(_is_on_cpu, tensors))
        and set(map(_axes_of, tensors)) == {0}
        and _READ_BY_NUMPY.issuperset(map(_dtype_of, tensors))
        and not any(map(_needs_gradient, tensors))
        and not any(map(_is_neg, tensors))
        and all(map(_data_ptr, tensors))
    )


def _is_plain(tensor: torch.Tensor) -> bool:
    return (
        type(tensor) is torch.Tensor
        and tensor.is_cpu
        and tensor.ndim == 0
        and tensor.dtype in _READ_BY_NUMPY
        and not tensor.requires_grad
        and not tensor.is_neg()
        # A zero without memory has none.
        and tensor.data_ptr() != 0
    )


def _run(places: list[int], first: torch.Tensor) -> _Run:
    if len(places) == 1:
        # It is asked itself before this is used again.
        return _Run(places, first, first.detach().reshape(1).numpy())
    whole = torch.empty(0, dtype=first.dtype, device="cpu")
    whole.set_(first.untyped_storage(), first.storage_offset(), (len(places),), (1,))
    return _Run(places, whole, whole.numpy())
