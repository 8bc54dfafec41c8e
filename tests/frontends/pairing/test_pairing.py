"""What a pairing of the core's cells with a framework's containers promises, with containers that any framework has."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from gradwise import optimizers
from gradwise.backends import Variable
from gradwise.frontends.pairing import Numbers, Pairing, columns_of


class Rounded:
    """Numbers in an array of a framework.

    Args:
        values: one for each container.
        dtype: of the array.
        known: whether it can tell what it will hold before it is written.
    """

    def __init__(self, values: Sequence[float], dtype: str, known: bool) -> None:
        self.array, self.known = np.array(values, dtype), known

    def held(self) -> list[Any]:
        return self.array.tolist()

    def writing(self, values: Sequence[Any], places: Sequence[int] | None) -> tuple[list[partial[Any]], Any]:
        after = self.array.copy()
        for place in range(len(values)) if places is None else places:
            after[place] = values[place]
        calls = [partial(operator.setitem, self.array, ..., after)]
        return calls, after.tolist() if self.known else map(self.array.__class__.tolist, (self.array,))


@pytest.fixture(params=[True, False], ids=["known before", "asked after"])
def known(request: Any) -> bool:
    return request.param


def paired(values: Sequence[float], dtype: str, known: bool) -> tuple[list[Variable], Numbers[Rounded]]:
    cells = [Variable.scalar(value, "number") for value in values]
    return cells, Numbers(cells, Rounded(values, dtype, known))


def made(calls: Sequence[partial[Any]]) -> None:
    for call in calls:
        call()


def test_no_digit_is_lost_on_the_way_through_a_container(known: bool) -> None:
    cells, numbers = paired([0.0, 0.5], "float32", known)
    numbers.read()
    made(numbers.writing([1 / 3, 0.1]))
    cells[0].array, cells[1].array = 1 / 3, 0.1
    numbers.read()
    assert [cell.array for cell in cells] == [1 / 3, 0.1]
    assert numbers.containers.held() == [np.float32(1 / 3), np.float32(0.1)]


def test_what_somebody_wrote_counts(known: bool) -> None:
    cells, numbers = paired([0.0, 0.0], "float32", known)
    numbers.read()
    made(numbers.writing([1 / 3, 1 / 7]))
    cells[0].array, cells[1].array = 1 / 3, 1 / 7
    numbers.containers.array[1] = 5.0
    numbers.read()
    assert cells[1].array == 5.0 and type(cells[1].array) is float


@pytest.mark.parametrize(("written", "expected"), [(3.0, 3), (2.5, 2.5), (float("inf"), float("inf"))])
def test_counts_stay_whole_numbers_where_they_are(written: float, expected: float, known: bool) -> None:
    cells, numbers = paired([1, 1], "float32", known)
    numbers.containers.array[0] = written
    numbers.read()
    assert cells[0].array == expected and type(cells[0].array) is type(expected)
    assert cells[1].array == 1 and type(cells[1].array) is int


def test_of_a_shared_number_the_first_container_counts_and_all_are_written(known: bool) -> None:
    cell = Variable.scalar(1.0, "number")
    numbers = Numbers([cell] * 3, Rounded([1.0, 2.0, 3.0], "float32", known))
    numbers.read()
    assert cell.array == 1.0
    made(numbers.writing(numbers.after({id(cell): 4.0}), [1]))
    assert numbers.containers.held() == [4.0, 4.0, 4.0]


def test_only_the_numbers_of_some_places_are_written(known: bool) -> None:
    cells, numbers = paired([1.0, 1.0, 1.0], "float64", known)
    made(numbers.writing(numbers.after({id(cells[1]): 2.0}), [1]))
    assert numbers.containers.held() == [1.0, 2.0, 1.0]


def test_containers_that_hold_other_objects_are_noticed() -> None:
    arrays = [np.zeros(1), np.zeros(1)]
    pairing: Pairing[Rounded] = Pairing([], arrays)
    assert pairing.holds(list(arrays))
    assert not pairing.holds([arrays[0], arrays[1].copy()])
    assert not pairing.holds(arrays[:1])


def test_columns_are_the_cells_of_one_name() -> None:
    core = optimizers.Nadam(convention="torch")
    core.build([np.zeros(2), np.zeros(3)])
    found = {column.name: column for column in columns_of(core)}
    slots = {name for name, column in found.items() if not column.on_host}
    assert slots == {"momentum", "velocity"} and list(found["momentum"].places) == [0, 1]
    assert [cell.shape for cell in found["velocity"].cells] == [(2,), (3,)]
    core = optimizers.Nadam()
    core.build([np.zeros(2), np.zeros(3)])
    (shared,) = [column for column in columns_of(core) if column.shared]
    assert shared.on_host and len(shared.cells) == 1 and list(shared.places) == [0, 1]
