"""What a loaded state must be, and how it is kept: with the digits it was saved with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch

from ..backends import backend_of, compute_dtype, describe
from .torch_linking import may_be_number, step_dtype
from .torch_scalars import floats, new_scalars
from .torch_table import Row

Groups = Sequence[Mapping[str, Any]]


def _indices(state_dict: Mapping[str, Any], groups: Groups) -> list[tuple[Any, torch.Tensor]]:
    """Each index of a saved state with its parameter."""
    saved = chain.from_iterable(group["params"] for group in state_dict["param_groups"])
    own = chain.from_iterable(group["params"] for group in groups)
    return list(zip(saved, own, strict=False))


def check_loaded(state_dict: Mapping[str, Any], groups: Groups, row: Row) -> None:
    """Raise ValueError if it is of another class, or of other parameters. Torch itself checks the groups' lengths."""
    sizes = [len(group["params"]) for group in state_dict["param_groups"]]
    if sizes != [len(group["params"]) for group in groups]:
        return
    for number, group in enumerate(state_dict["param_groups"]):
        missing = [key for key in row.defaults if key not in group and key not in row.later]
        if missing:
            raise ValueError(
                f"The loaded parameter group {number} has no {', '.join(map(repr, missing))}: it is the state of an "
                f"optimizer of another class than {row.core.__name__}."
            )
    elsewhere = row.every_slot.difference(row.keys.values())
    for index, parameter in _indices(state_dict, groups):
        saved = state_dict["state"].get(index, {})
        if not elsewhere.isdisjoint(saved):
            foreign = [key for key in saved if key in elsewhere]
            raise ValueError(
                f"The loaded state of parameter {index} has {', '.join(map(repr, foreign))}: it is the state of an "
                f"optimizer of another class than {row.core.__name__}."
            )
        for key, value in saved.items():
            needed = None
            if key in row.slots:
                needed = None if isinstance(value, torch.Tensor) else "a tensor"
            elif key in row.numbers and not may_be_number(value):
                needed = "one number"
            if needed is not None and value is not None:
                raise ValueError(
                    f"The loaded {key!r} of parameter {index} is {describe(value)} and must be {needed}: convert it."
                )
            if key in row.slots and isinstance(value, torch.Tensor) and value.shape != parameter.shape:
                raise ValueError(
                    f"The loaded {key!r} of parameter {index} has shape {tuple(value.shape)} and the parameter "
                    f"{tuple(parameter.shape)}: it is the state of other parameters."
                )


def own_copies(state: Any, loaded: Mapping[str, Any]) -> None:
    """Copy what a loaded state still shares with what it was loaded from, so that no other optimizer writes to it.

    Args:
        state: of the optimizer, as torch has loaded it; it changes.
        loaded: what was loaded.
    """
    found: list[torch.Tensor] = []
    _add_tensors(loaded["state"], found)
    # What entries share, they go on to share.
    copies: dict[int, torch.Tensor | None] = dict.fromkeys(map(id, found))
    for key, entry in state.items():
        state[key] = _own(entry, copies)


def _own(value: Any, copies: dict[int, torch.Tensor | None]) -> Any:
    """A value with copies of the tensors that are foreign: those that have one, or shall have one."""
    # No function inside another that calls itself: a cycle, it would keep all copies until the garbage is collected.
    if isinstance(value, torch.Tensor):
        number = id(value)
        if number not in copies:
            return value
        copy = copies[number]
        if copy is None:
            copies[number] = copy = value.clone()
        return copy
    if type(value) is dict:
        return {key: _own(item, copies) for key, item in value.items()}
    return type(value)([_own(item, copies) for item in value]) if type(value) in (list, tuple) else value


def _add_tensors(value: Any, found: list[torch.Tensor]) -> None:
    """Add all tensors in nested containers to a list."""
    if isinstance(value, torch.Tensor):
        found.append(value)
    elif type(value) is dict or isinstance(value, Mapping):
        for item in value.values():
            _add_tensors(item, found)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _add_tensors(item, found)


def fit_state(state: Any, groups: Groups, row: Row, loaded: Mapping[str, Any] | None) -> None:
    """Make all numbers tensors, undo what torch has cast to the dtype of 16-bit parameters, lay slots like parameters.

    Args:
        state: of the optimizer, as torch has loaded it; it changes.
        groups: of the optimizer.
        row: how the state is called.
        loaded: what was loaded, before torch cast it. None for copies, which are not cast.
    """
    before: dict[int, Any] = {}
    if loaded is not None:
        before = {id(own): loaded["state"].get(index, {}) for index, own in _indices(loaded, groups)}
    for group in groups:
        entries = [_Entry(p, entry, before.get(id(p), entry)) for p in group["params"] if (entry := state.get(p))]
        for key in row.numbers:
            _fit_numbers(key, [each for each in entries if each.now.get(key) is not None], bool(before), group)
        for parameter, now, saved in entries if before else ():
            if now is saved or not parameter.is_floating_point():
                continue
            for key, value in saved.items():
                if key in row.slots and isinstance(value, torch.Tensor):
                    now[key] = _fit_slot(now[key], value, parameter, row)


class _Entry(NamedTuple):
    """The state of a parameter.

    Attributes:
        parameter: the parameter.
        now: what the optimizer has.
        saved: what was loaded, before torch cast it; the same if it was not.
    """

    parameter: torch.Tensor
    now: dict[str, Any]
    saved: Mapping[str, Any]


def _fit_slot(cast: torch.Tensor, value: torch.Tensor, parameter: torch.Tensor, row: Row) -> torch.Tensor:
    dtype = _slot_dtype(parameter.dtype, row)
    slot = cast if cast.dtype is dtype else value.to(device=parameter.device, dtype=dtype)
    # Another memory format than the one that it was saved with, as channels_last, would mean a copy in every step.
    if slot.is_contiguous() and parameter.is_contiguous():
        return slot
    backend = backend_of(parameter)
    if backend is not None and backend.order(slot) != backend.order(parameter):
        return torch.empty_like(parameter, dtype=slot.dtype, requires_grad=False).copy_(slot)
    return slot


def _slot_dtype(dtype: torch.dtype, row: Row) -> torch.dtype:
    """In which dtype the slots of a parameter are stored."""
    # The two to which slots of most parameters belong, without a look at names.
    if row.slot_dtype is None and dtype in (torch.float32, torch.float64):
        return dtype
    return getattr(torch, row.slot_dtype or compute_dtype(str(dtype).removeprefix("torch.")))  # type: ignore[no-any-return]  # by its name


def _fit_numbers(key: str, entries: Sequence[_Entry], loaded: bool, group: Mapping[str, Any]) -> None:
    if loaded or not all([isinstance(entry.now[key], torch.Tensor) for entry in entries]):
        values = [entry.saved.get(key) for entry in entries]
        kept = [value.dtype for value in values if isinstance(value, torch.Tensor)]
        devices = [entry.parameter.device for entry in entries] if group.get("capturable") else None
        dtype = torch.float32 if devices else kept[0] if kept else step_dtype()
        for entry, new in zip(entries, new_scalars(floats(values), dtype, devices), strict=True):
            entry.now[key] = new
