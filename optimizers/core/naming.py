"""Parameters under their names: given with them, and chosen by them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...backends import Backend, Variable, backend_of, describe, shown
from ...backends.trees import ALONE
from ...backends.wording import did_you_mean, listed, meant, which_instead
from .checks import as_list
from .exclusions import only_name
from .mistaken import instead_of_array

_UNNAMED = re.compile(r"variable_\d+")


def unnamed(position: int) -> str:
    """The name of a parameter that was given without one."""
    return f"variable_{position}"


def named(values: Any, what: str) -> tuple[list[Any], list[str] | None]:
    """A collection of arrays, and their names if it has them.

    Args:
        values: arrays; pairs of a name and an array, as `model.named_parameters()` gives them; or a dictionary from
            names to arrays.
        what: what errors call them.

    Raises:
        TypeError: if it is a single array or a model, cannot be iterated over, or names are no strings.
        ValueError: if it has nothing left, or a name is there twice.
    """
    pairs: list[Any] = list(values.items()) if isinstance(values, Mapping) else as_list(values, what)
    if not pairs or not (isinstance(values, Mapping) or all(map(_is_pair, pairs))):
        return pairs, None
    names = [name for name, _ in pairs]
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"Names of {what} must be strings, received {describe(name)}.")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"The name {twice!r} was given for two {what}: names must differ.")
    return [array for _, array in pairs], names


def _is_pair(value: Any) -> bool:
    return type(value) is tuple and len(value) == 2 and isinstance(value[0], str)


def by_name(gradients: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    """Gradients in the order of the parameters; None where there is none.

    Args:
        gradients: by the names of their parameters.
        names: of the parameters.

    Raises:
        ValueError: if a gradient's name is that of no parameter.
    """
    known = set(names)
    unknown = [name for name in gradients if name not in known]
    if unknown:
        raise ValueError(
            f"There is no parameter {', '.join(map(repr, unknown[:3]))}, for which a gradient was given."
            f"{which_instead(unknown[:1], names, 'The parameters')}"
        )
    return [gradients.get(name) for name in names]


def check_pattern(pattern: str, called: str) -> None:
    """Raise ValueError for what is no regular expression, with one that is.

    Args:
        pattern: the text.
        called: what the error calls it, such as "the pattern '*bias'".
    """
    try:
        re.compile(pattern)
    except re.error as error:
        # Many know `*bias` from names of files.
        searched = pattern.strip("*")
        if searched != pattern and searched and _is_pattern(searched):
            remedy = f"it is searched anywhere in a name, so write {shown(searched)}"
        else:
            remedy = f"to find it as it stands write {shown(re.escape(pattern))}"
        before = f"nothing stands before its {pattern[0]}" if pattern[0] in "*+?" else str(error)
        raise ValueError(f"{called} is no regular expression ({before}): {remedy}.") from None


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def known_by(names: Sequence[str], near: str = "", known: Iterable[Any] | None = None) -> str:
    """The names that there are, as the end of a sentence about a pattern that is found in none, and what to do.

    Args:
        names: of the parameters.
        near: the pattern.
        known: the parameters, or their cells; None if they have no identity.
    """
    if list(names) == [ALONE]:
        return "the only parameter is a single array, which has no parts to choose from. Leave the pattern out."
    there = f"the names are {listed(names, near)}"
    if all(map(_UNNAMED.fullmatch, names)):
        backends = [each.backend if isinstance(each, Variable) else backend_of(each) for each in known or ()]
        how = next((backend.how_names_come for backend in backends if backend is not None), Backend.how_names_come)
        return f"{there}, because they were given without names. Pass {how} instead of the list of parameters."
    parts = dict.fromkeys([*names, *(part for name in names for part in re.split(r"[/.]", name) if part)])
    likely = [part for part in meant(near, parts) if _is_pattern(part) and _found(part, names)]
    return f"{there}. Did you mean {shown(likely[0])}?" if likely else f"{there}. Correct the pattern or remove it."


def known_paths(names: Sequence[str], missing: str) -> str:
    """The same of a path that does not exist."""
    return f"the parameters are {listed(names, missing)}.{did_you_mean([missing], names)}"


def _found(pattern: str, names: Iterable[str]) -> bool:
    return any(map(re.compile(pattern).search, names))


def check_chosen(
    excluded: Sequence[Any], patterns: Sequence[str], names: Sequence[str], known: Iterable[Any] | None, owner: str
) -> None:
    """Raise ValueError if parameters that were chosen by their names, or themselves, do not exist.

    Args:
        excluded: parameters.
        patterns: regular expressions, searched in names.
        names: of the parameters that there are.
        known: these, and their cells; None if they have no identity.
        owner: what errors call the optimizer.
    """
    if not names:
        return
    every = set(names)
    for pattern in patterns:
        if only_name(pattern) not in every and not _found(pattern, names):
            raise ValueError(
                f"exclude_from_weight_decay of {owner}: the pattern {pattern!r} in var_names matches no parameter's "
                f"name; {known_by(names, pattern, known)}"
            )
    if excluded and known is None:
        raise ValueError(
            f"exclude_from_weight_decay of {owner}: var_list compares arrays by identity, and step() returns new "
            f"arrays each time. Choose by name instead, as var_names=[{names[0]!r}]; the names are {listed(names)}."
        )
    there = set(map(id, known or ()))
    for parameter in excluded:
        if id(parameter) not in there:
            # Keras's have paths.
            names = [getattr(each, "path", name) for each, name in zip(known or (), names, strict=False)]
            name = parameter.name if isinstance(parameter, Variable) else getattr(parameter, "path", None)
            called = describe(parameter) if name is None else repr(name)
            if name is not None:
                raise ValueError(
                    f"exclude_from_weight_decay of {owner}: {called} in var_list is not one of the optimizer's own "
                    "variables, even if one has the same name. Take it from the model that is trained."
                )
            raise ValueError(
                f"exclude_from_weight_decay of {owner}: {called} in var_list is not one of the parameters "
                f"{listed(names)}; a copy does not count. Write `var_list=[parameter]` with the same object that the "
                "optimizer is given."
            )


def listed_choices(var_list: Any, var_names: Any) -> tuple[list[Any], list[str]]:
    """The arguments of `exclude_from_weight_decay` as lists; the parameters themselves are not looked at.

    Raises:
        TypeError: if one is no list, or there is anything but text among the patterns.
        ValueError: if a pattern is no regular expression.
    """
    if isinstance(var_names, str):
        given = f"the string {shown(var_names)}: give [{shown(var_names)}]"
        raise TypeError(f"var_names must be a list of regular expressions, received {given}.")
    if isinstance(var_list, str):
        check_var_list([var_list])
    excluded = [] if var_list is None else as_list(var_list, "variables in var_list")
    names = [] if var_names is None else as_list(var_names, "regular expressions in var_names")
    for expression in names:
        if not isinstance(expression, str):
            raise TypeError(f"var_names must be a list of strings, received {describe(expression)} in it.")
        check_pattern(expression, f"{shown(expression)} in var_names")
    return excluded, names


def check_var_list(excluded: Sequence[Any]) -> None:
    """Raise TypeError for what cannot be a parameter in `var_list`: text belongs into `var_names`."""
    for parameter in excluded:
        if parameter is None:
            continue
        if isinstance(parameter, str):
            raise TypeError(
                f"var_list has the string {parameter!r}, and takes parameters themselves. To choose by name write "
                f"`var_names=[{parameter!r}]`."
            )
        if not isinstance(parameter, Variable) and backend_of(parameter) is None:
            raise TypeError(
                f"var_list takes parameters themselves, received {describe(parameter)}{instead_of_array(parameter)}."
            )
