"""What a loaded state must be, and how it is kept: with the digits it was saved with."""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch

from ...backends import backend_of, describe
from .entries import State
from .keys import RULE
from .linking import may_be_number, real_view, step_dtype
from .number_tensors import are_plain, floats, new_number_tensors
from .table import TorchRow

Groups = Sequence[Mapping[str, Any]]
Rows = Sequence[TorchRow]
Fitted: TypeAlias = Callable[[torch.Tensor, Any], torch.Tensor]


class _Number(NamedTuple):
    """A number of a parameter, which will stand in its entry as a tensor.

    Attributes:
        entry: the parameter's state.
        parameter: the parameter.
        value: what the number is now.
        index: what a saved state calls the parameter.
    """

    entry: dict[str, Any]
    parameter: torch.Tensor
    value: Any
    index: Any


def loaded_state(state_dict: Mapping[str, Any], groups: Groups, rows: Rows) -> dict[Any, Any] | None:
    """The state of an optimizer as it will be, which shares nothing with what is loaded. Nothing changes.

    What torch would cast to the dtype of 16-bit parameters keeps all its digits.

    Args:
        state_dict: what is loaded.
        groups: of the optimizer.
        rows: of each group, how its state is called.

    Returns:
        The state; None if there are other groups, or groups of other lengths: torch says so.

    Raises:
        KeyError: if it lacks groups or state.
        ValueError: if it is of another class, or of other parameters.
    """
    lacking = {"param_groups", "state"}.difference(state_dict)
    if lacking:
        raise KeyError(f"The loaded state has no {min(lacking)!r}: load_state_dict takes what state_dict() gave.")
    saved_groups = state_dict["param_groups"]
    if any(RULE in group for group in (*saved_groups, *groups)):
        _refuse_other_rules(saved_groups, groups)
    if [len(group["params"]) for group in saved_groups] != [len(group["params"]) for group in groups]:
        return None
    _refuse_other_groups(saved_groups, rows)
    own = dict(_indices(saved_groups, groups))
    loading = _Loading(saved_groups, rows)
    state: dict[Any, Any] = defaultdict(dict)
    for index, saved in state_dict["state"].items():
        if index in own:
            state[own[index][0]] = loading.entry(index, saved, *own[index])
        else:
            state[index] = _own(saved, loading.copies)
    loading.fit_numbers()
    return state


class _Loading:
    """The entries of a state that is loaded, as they will be.

    Args:
        groups: that were saved.
        rows: of each group, how its state is called.

    Attributes:
        copies: of tensors, by the identities of these: what entries share, they go on to share.
    """

    def __init__(self, groups: Groups, rows: Rows) -> None:
        self._groups, self._rows = groups, rows
        self._elsewhere = [row.every_slot.difference(row.keys.values()) for row in rows]
        self._numbers: dict[tuple[int, str], list[_Number]] = {}
        self.copies: dict[int, torch.Tensor] = {}

    def entry(self, index: Any, saved: Mapping[str, Any], parameter: torch.Tensor, number: int) -> dict[str, Any]:
        """The entry of a parameter, but for its numbers.

        Args:
            index: what the saved state calls it.
            saved: what is loaded.
            parameter: the parameter.
            number: of its group.

        Raises:
            ValueError: if it is another class's, or another parameter's.
        """
        row, elsewhere = self._rows[number], self._elsewhere[number]
        if not elsewhere.isdisjoint(saved):
            foreign = [key for key in saved if key in elsewhere]
            raise ValueError(
                f"The loaded state of parameter {index} has {', '.join(map(repr, foreign))}, because it was saved by "
                f"an optimizer class other than {row.called}. Load it into the class that saved it."
            )
        entry = dict(saved)
        for key, value in saved.items():
            if value is None:
                continue
            if key in row.numbers:
                self._numbers.setdefault((number, key), []).append(_Number(entry, parameter, value, index))
            elif key in row.slots:
                entry[key] = self._slot(index, key, value, parameter, row)
            elif key in row.shared and isinstance(value, torch.Tensor):
                # It has a dtype of its own, and all that has it goes on to share it.
                entry[key] = _own(value, self.copies, functools.partial(_moved, parameter), key)
            else:
                fitted = functools.partial(_fitted, parameter, self._groups[number])
                entry[key] = _own(value, self.copies, fitted, key)
        return entry

    def _slot(self, index: Any, key: str, value: Any, parameter: torch.Tensor, row: TorchRow) -> torch.Tensor:
        """A slot where its parameter is, in the dtype of slots."""
        if not isinstance(value, torch.Tensor):
            raise ValueError(
                f"The loaded {key!r} of parameter {index} is {describe(value)} and must be a tensor: convert it."
            )
        # As nearly all have, without a call for each.
        same = value.shape == parameter.shape and row.slots_have_one_shape
        if not same and not _has_slot_shape(value, key, parameter, row):
            raise ValueError(
                f"The loaded {key!r} of parameter {index} has shape {tuple(value.shape)} and the parameter "
                f"{tuple(parameter.shape)}: it is the state of other parameters, or of the same in another order."
            )
        dtype = _slot_dtype(parameter, key, row)
        fits = value.device == parameter.device and dtype in (None, value.dtype)
        slot = value if fits else value.to(device=parameter.device, dtype=dtype)
        if dtype is not None and slot.shape == parameter.shape:
            slot = _laid_like(slot, parameter)
        return _copy(value, self.copies) if slot is value else slot

    def fit_numbers(self) -> None:
        """Put the numbers into the entries, as tensors.

        Raises:
            ValueError: if something is no number.
        """
        for (number, key), several in self._numbers.items():
            for each in () if are_plain([each.value for each in several]) else several:
                if not may_be_number(each.value):
                    raise ValueError(
                        f"The loaded {key!r} of parameter {each.index} is {describe(each.value)} and must be one "
                        "number: convert it."
                    )
            _fit_numbers(key, several, self._groups[number])


def _has_slot_shape(value: torch.Tensor, key: str, parameter: torch.Tensor, row: TorchRow) -> bool:
    """Whether a tensor has a shape that a parameter's slot of some key can have."""
    if row.slots_have_one_shape:
        return value.shape == parameter.shape
    return tuple(real_view(value).shape) in row.slot_shapes(key, real_view(parameter.detach()).shape)


def _refuse_other_groups(saved_groups: Groups, rows: Rows) -> None:
    for number, (saved, row) in enumerate(zip(saved_groups, rows, strict=True)):
        missing = [key for key in row.defaults if key not in saved and key not in row.later]
        if missing:
            raise ValueError(
                f"The loaded parameter group {number} has no {', '.join(map(repr, missing))}, because it was saved by "
                f"an optimizer class other than {row.called}. Load it into the class that saved it."
            )


def _refuse_other_rules(saved_groups: Groups, groups: Groups) -> None:
    """Raise ValueError if a group, or a parameter in it, has another rule than it had, as far as names tell."""
    remedy = "wrap the optimizer that was saved, with its rules in their order"
    saved_rules, rules = ([group.get(RULE) for group in each] for each in (saved_groups, groups))
    both = itertools.zip_longest(map(_of_rule, saved_rules), map(_of_rule, rules), fillvalue="missing")
    for number, (saved, own) in enumerate(both):
        if saved != own:
            raise ValueError(
                f"Parameter group {number} is {saved} in the loaded state, and {own} in the optimizer: {remedy}."
            )
    saved_names, names = ([group.get("param_names") or () for group in each] for each in (saved_groups, groups))
    here = {name: rule for rule, own in zip(rules, names, strict=True) for name in own}
    for rule, known in zip(rules, saved_names, strict=True):
        # Whose names are others altogether may have been called otherwise.
        moved = next((name for name in known if here.get(name, rule) != rule), None)
        if moved is not None:
            raise ValueError(
                f"The loaded state of parameter {moved!r} is that of the rule {rule!r}, and the optimizer has it under "
                f"the rule {here[moved]!r}: {remedy}."
            )


def _of_rule(name: Any) -> str:
    return "of no rule" if name is None else f"of the rule {name!r}"


def _indices(saved_groups: Groups, groups: Groups) -> list[tuple[Any, tuple[torch.Tensor, int]]]:
    """Each index of a saved state with its parameter and the number of the group."""
    return [
        (index, (parameter, number))
        for number, (saved, group) in enumerate(zip(saved_groups, groups, strict=True))
        for index, parameter in zip(saved["params"], group["params"], strict=True)
    ]


def _copy(tensor: torch.Tensor, copies: dict[int, torch.Tensor]) -> torch.Tensor:
    """A copy of a tensor, one for each."""
    if id(tensor) not in copies:
        copies[id(tensor)] = tensor.clone()
    return copies[id(tensor)]


def _own(value: Any, copies: dict[int, torch.Tensor], fitted: Fitted | None = None, key: Any = None) -> Any:
    """A value that the class knows nothing of, with copies of the tensors in it.

    Args:
        value: a tensor, or what holds some.
        copies: of tensors, by the identities of these.
        fitted: fits a tensor under a key to the parameter that the value belongs to. None if it belongs to none.
        key: under which the value stands.
    """
    if isinstance(value, torch.Tensor):
        kept = value if fitted is None else fitted(value, key)
        return kept if kept is not value else _copy(value, copies)
    if isinstance(value, dict):
        return {key: _own(item, copies, fitted, key) for key, item in value.items()}
    several = isinstance(value, Iterable) and not isinstance(value, (str, bytes))
    if type(value) in (list, tuple) or (fitted is not None and several):
        return type(value)([_own(item, copies, fitted) for item in value])
    return value


def _fitted(parameter: torch.Tensor, group: Mapping[str, Any], value: torch.Tensor, key: Any) -> torch.Tensor:
    """A tensor where torch has it that belongs to a parameter in a saved group, and in torch's dtype."""
    if key == "step" and not (group.get("capturable") or group.get("fused")):
        return value
    dtype = parameter.dtype if parameter.is_floating_point() else value.dtype
    return value.to(device=parameter.device, dtype=torch.float32 if key == "step" else dtype)


def _laid_like(slot: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """A slot in the memory format of its parameter. Another one, as channels_last, would mean a copy in every step."""
    if slot.is_contiguous() and parameter.is_contiguous():
        return slot
    backend = backend_of(parameter)
    if backend is not None and backend.order(slot) != backend.order(parameter):
        return torch.empty_like(parameter, dtype=slot.dtype, requires_grad=False).copy_(slot)
    return slot


def _moved(parameter: torch.Tensor, value: torch.Tensor, key: Any) -> torch.Tensor:
    """A tensor on the device of a parameter."""
    return value.to(device=parameter.device)


def _slot_dtype(parameter: torch.Tensor, key: str, row: TorchRow) -> torch.dtype | None:
    """In which dtype the slots of a parameter are stored under a key; None if they stay as they are."""
    dtype = parameter.dtype
    # The two to which slots of most parameters belong, without a look at names.
    if row.slots_have_one_shape and dtype in (torch.float32, torch.float64):
        return dtype
    if not dtype.is_floating_point:
        return None
    return getattr(torch, row.slot_dtype(key, str(dtype).removeprefix("torch.")))  # type: ignore[no-any-return]  # by its name


def fit_numbers(state: State, groups: Groups, rows: Rows) -> None:
    """Make all numbers tensors, as those that older versions saved are not.

    Args:
        state: of the optimizer; it changes.
        groups: of the optimizer.
        rows: of each group, how its state is called.
    """
    for group, row in zip(groups, rows, strict=True):
        entries = [(parameter, entry) for parameter in group["params"] if (entry := state.get(parameter))]
        for key in row.numbers:
            numbers = [_Number(entry, p, entry[key], None) for p, entry in entries if entry.get(key) is not None]
            if not all([isinstance(each.value, torch.Tensor) for each in numbers]):
                _fit_numbers(key, numbers, group)


def _fit_numbers(key: str, numbers: Sequence[_Number], group: Mapping[str, Any]) -> None:
    """Put new tensors into the entries."""
    values = [each.value for each in numbers]
    kept = [value.dtype for value in values if isinstance(value, torch.Tensor)]
    devices = [each.parameter.device for each in numbers] if group.get("capturable") else None
    dtype = torch.float32 if devices else kept[0] if kept else step_dtype()
    for each, new in zip(numbers, new_number_tensors(floats(values), dtype, devices), strict=True):
        each.entry[key] = new
