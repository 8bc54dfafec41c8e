"""Numbers that the core keeps in double precision on the host and torch in 0-d tensors of its state."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy
import torch

from ...backends import Variable
from ...optimizers.core.insertion import Insertion, inverse

# Calls of methods through `map` take half as long as in a loop, and this is done in every step.
_data_ptr = torch.Tensor.data_ptr
_held = operator.attrgetter("array")
_is_neg = torch.Tensor.is_neg
_is_on_cpu, _axes_of = operator.attrgetter("is_cpu"), operator.attrgetter("ndim")
_dtype_of, _needs_gradient = operator.attrgetter("dtype"), operator.attrgetter("requires_grad")
_READ_BY_NUMPY = frozenset((torch.float32, torch.float64, torch.int32, torch.int64))


def new_scalars(
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


class Scalars:
    """One number for each parameter, in the core's cells and in tensors of the state.

    The tensors are what counts. They are read in each step, because anybody may write to them in any way: through
    `.data`, as NumPy arrays, from another process. Each is asked where it lies before memory is used that was known:
    that memory is kept alive, so what lies there now is what lay there, or looks at the same bytes.

    Args:
        cells: of the core, one for each parameter, or the same one for all.
        tensors: of the state, one for each parameter.
    """

    def __init__(self, cells: Sequence[Variable], tensors: Sequence[torch.Tensor]) -> None:
        self._cells = list(cells)
        self._tensors = list(tensors)
        self.shared = len(cells) > 1 and cells[0] is cells[1]
        self.counts = isinstance(cells[0].array, int)
        # Nothing is looked at before it is needed: the tensors may lie on a device.
        self._asked: list[torch.Tensor] = []
        self._addresses: list[int] | None = None
        self._runs: list[_Run] = []
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
        self._seen: list[Any] | None = None

    @property
    def tensors(self) -> list[torch.Tensor]:
        """Those of the state, one for each parameter."""
        return self._tensors

    def pairs(self) -> list[tuple[Variable, torch.Tensor]]:
        """The cells with their tensors."""
        return list(zip(self._cells, self._tensors, strict=True))

    # ---------------------------------------------------------------- reading and writing

    def read(self) -> None:
        """Take the tensors' values into the cells. Of a cell that all share, the first parameter's counts."""
        try:
            if list(map(_data_ptr, self._asked)) != self._addresses:
                self._look()
        except RuntimeError:
            # A tensor that has no memory any more.
            self._look()
        values = self._values() if self._view is None else self._view.tolist()
        # What nobody has written meanwhile is what the cells hold, with more digits than a tensor has.
        if values != self._seen:
            for cell, value in zip(reversed(self._cells), reversed(values), strict=True):
                # Counts that were averaged over several optimizers may be fractions.
                cell.array = int(value) if self.counts and value == value // 1 else float(value)
            self._seen = values

    def after(self, numbers: dict[int, Any]) -> list[Any]:
        """What the cells hold after a step.

        Args:
            numbers: what the step changes, by the identities of cells.
        """
        held = list(map(_held, self._cells))
        return list(map(numbers.get, map(id, self._cells), held)) if numbers else held

    @property
    def cells(self) -> list[Variable]:
        """Those of the core, one for each parameter."""
        return self._cells

    def writing(self, values: Sequence[Any], places: Sequence[int] | None = None) -> list[partial[Any]]:
        """What writes numbers into the tensors, as calls, to be made at once.

        Args:
            values: what the cells hold then.
            places: the parameters whose numbers may change. None is all.

        Raises:
            OverflowError: if the tensors cannot hold them.
        """
        if list(map(_data_ptr, self._wholes)) != self._starts:
            # Another thread moved the memory since it was read, as a queue does that sends it to another process.
            self._look()
        if self._view is None or not (places is None or self.shared):
            return [partial(self._write_some, values, None if self.shared else places)]
        if values.count(values[0]) == len(values):
            # As most are, and six times as fast.
            held = self._kind(values[0])
            seen, write = [held.item()] * len(values), partial(self._view.fill, held)
        else:
            held = numpy.array(values, self._kind)
            seen, write = held.tolist(), partial(self._view.__setitem__, ..., held)
        return [write, partial(setattr, self, "_seen", seen)]

    def _write_some(self, values: Sequence[Any], places: Sequence[int] | None) -> None:
        if places is None:
            for run in self._runs:
                run.view[:] = [values[place] for place in run.places]
        elif self._where is None:
            self._where = {
                place: (run.view, position) for run in self._runs for position, place in enumerate(run.places)
            }
        where = self._where or {}
        with torch.no_grad():
            for place in self._apart if places is None else places:
                if place in where:
                    view, position = where[place]
                    view[position] = values[place]
                else:
                    self._tensors[place].fill_(values[place])
        self._seen = self._values()

    def _values(self) -> list[Any]:
        values = [value for run in self._runs for value in run.view.tolist()]
        values += [self._tensors[place].item() for place in self._apart]
        return values if self._in_order is None else list(self._in_order(values))

    # ---------------------------------------------------------------- where the tensors lie

    def _look(self) -> None:
        """Find out which tensors lie side by side on the CPU. The others are read and written one by one."""
        everyone = range(len(self._tensors))
        places: Sequence[int] = everyone
        if not are_plain(self._tensors):
            places = [place for place, tensor in enumerate(self._tensors) if _is_plain(tensor)]
        apart = sorted(set(everyone).difference(places)) if len(places) < len(everyone) else []
        runs = [_run(own, self._tensors[own[0]]) for own in _side_by_side(self._tensors, places)]
        # If memory is replaced in place, as `share_memory_` does, the tensors over it show that, the views do not.
        asked = [self._tensors[place] for place in places]
        asked += [run.whole for run in runs if len(run.places) > 1]
        self._remember(runs, apart, asked, list(map(_data_ptr, asked)))

    def _put_together(self, one: Scalars, another: Scalars, insertion: Insertion) -> None:
        """Know what is known of one's tensors, and what is to be found out of another's alone."""
        if one._addresses is None or one._seen is None:
            return
        another.read()
        assert another._addresses is not None and another._seen is not None
        runs = [
            run._replace(places=[places[each] for each in run.places])
            for own, places in ((one, insertion.known), (another, insertion.further))
            for run in own._runs
        ]
        apart = [
            places[each]
            for own, places in ((one, insertion.known), (another, insertion.further))
            for each in own._apart
        ]
        self._remember(runs, sorted(apart), one._asked + another._asked, one._addresses + another._addresses)
        self._seen = insertion.joined(one._seen, another._seen)

    def _remember(
        self, runs: list[_Run], apart: list[int], asked: list[torch.Tensor], addresses: list[int]
    ) -> None:
        """What was found out, and which tensors show by their addresses whether it still holds."""
        self._runs, self._apart, self._asked, self._addresses, self._where = runs, apart, asked, addresses, None
        order = [*itertools.chain.from_iterable([run.places for run in runs]), *apart]
        ordered = order == list(range(len(order)))
        self._in_order = None if ordered else operator.itemgetter(*inverse(order))
        self._wholes = [run.whole for run in self._runs]
        self._starts = list(map(_data_ptr, self._wholes))
        self._view = self._runs[0].view if len(self._runs) == 1 and not self._apart and ordered else None
        self._kind = None if self._view is None else self._view.dtype.type


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


def merged(one: Scalars, another: Scalars, insertion: Insertion) -> Scalars:
    """One number of each parameter of two groups of them.

    Args:
        one: those of some parameters.
        another: the same numbers of further ones.
        insertion: where these stand among all.

    Raises:
        LookupError: if parameters share them.
    """
    known, further = len(insertion.known), len(insertion.further)
    alike = one.counts is another.counts and (len(one._cells), len(another._cells)) == (known, further)
    if one.shared or another.shared or not alike:
        raise LookupError("they have other numbers")
    both = Scalars(
        insertion.joined(one._cells, another._cells), insertion.joined(one._tensors, another._tensors)
    )  # fmt: skip
    both._put_together(one, another, insertion)
    return both


def joined(several: Sequence[Sequence[Scalars]]) -> list[Scalars]:
    """The numbers of several optimizers, read and written together.

    Args:
        several: those of each, of the same kinds in the same order.

    Raises:
        LookupError: if they are of other kinds, or parameters of one optimizer share them.
    """
    kinds = {tuple(scalars.counts for scalars in own) for own in several}
    if len(kinds) > 1 or any(scalars.shared for own in several for scalars in own):
        raise LookupError("they have other numbers")
    pairs = [[pair for scalars in column for pair in scalars.pairs()] for column in zip(*several, strict=True)]
    return [Scalars([cell for cell, _ in column], [tensor for _, tensor in column]) for column in pairs]


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
