"""Arguments as their user names them: bound to a signature, and what is said where one does not exist."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType
from typing import Any

from .detect import shown
from .wording import NO_SYNONYMS, Synonyms, synonyms_of, which_instead

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class _Required:
    """What stands for an argument that was not given, where a function itself tells of it."""

    def __repr__(self) -> str:
        return "required"


REQUIRED = _Required()


def named_in(signature: inspect.Signature) -> list[str]:
    """The names of the arguments of a signature."""
    return [name for name, parameter in signature.parameters.items() if parameter.kind not in _ANY_NUMBER]


def names_with_stars(signature: inspect.Signature) -> list[str]:
    """The names of all arguments of a signature, those that take any number with their stars."""
    stars: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return [stars.get(parameter.kind, "") + name for name, parameter in signature.parameters.items()]


def without_types(signature: inspect.Signature) -> list[str]:
    """The arguments of a signature as they are written, without their types, and without what stands for the object."""
    empty = inspect.Parameter.empty
    return [
        str(each.replace(annotation=empty, default=empty if each.default is REQUIRED else each.default))
        for each in signature.parameters.values()
        if each.name not in ("self", "cls")
    ]


def takes_any(signature: inspect.Signature) -> bool:
    """Whether arguments of any name are passed on, to who knows whether they exist."""
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in signature.parameters.values())


def instead(
    unknown: Sequence[str],
    known: Iterable[str],
    synonyms: Synonyms = NO_SYNONYMS,
    elsewhere: Mapping[str, str] | None = None,
) -> str:
    """What is said behind the error about arguments that do not exist: which were meant, or what to do.

    Args:
        unknown: the arguments.
        known: those that there are.
        synonyms: what is meant by names that are used elsewhere.
        elsewhere: for names that are none, and belong elsewhere, what to do, such as "call build".
    """
    known = list(known)
    found = [name for name in unknown if name in (elsewhere or {}) and not synonyms_of(name, known, synonyms)]
    rest = [name for name in unknown if name not in found]
    told = "".join(f" For `{name}` {elsewhere[name]}." for name in found) if elsewhere else ""
    return f"{which_instead(rest, known, 'Its arguments', synonyms) if rest else ''}{told}"


def not_recognized(
    owner: str,
    unknown: Mapping[str, Any],
    known: Iterable[str],
    synonyms: Synonyms = NO_SYNONYMS,
    elsewhere: Mapping[str, str] | None = None,
) -> str:
    """The sentences of the error about arguments that do not exist, with their values; as for `instead`."""
    given = ", ".join(f"{shown(name, str)}={shown(value)}" for name, value in unknown.items())
    return f"Argument(s) not recognized by {owner}: {given}.{instead(list(unknown), known, synonyms, elsewhere)}"


def bound(
    owner: str,
    signature: inspect.Signature,
    arguments: Sequence[Any],
    keywords: Mapping[str, Any],
    synonyms: Synonyms = NO_SYNONYMS,
    elsewhere: Mapping[str, str] | None = None,
    takes: Callable[[str, Any], bool] = lambda name, value: True,
) -> inspect.BoundArguments:
    """Arguments by name.

    Args:
        owner: what errors call the class or function.
        signature: its arguments.
        arguments, keywords: of a call.
        synonyms, elsewhere: as for `instead`.
        takes: whether an argument may have a value. Default: that is not known.

    Raises:
        TypeError: if one does not exist, is given twice, or if there are too many; if arguments of any name are passed
            on, not if one is missing.
    """
    try:
        # What is passed on may be given by who passes it.
        bind = signature.bind_partial if takes_any(signature) else signature.bind
        return bind(*arguments, **keywords)
    except TypeError as error:
        known = named_in(signature)
        unknown = {name: value for name, value in keywords.items() if name not in known}
        if unknown and not takes_any(signature):
            raise TypeError(not_recognized(owner, unknown, known, synonyms, elsewhere)) from None
        in_order = [name for name in known if signature.parameters[name].kind in _BY_POSITION]
        by_name = "" if len(in_order) == len(known) else "; all others are given by name"
        if len(arguments) > len(in_order):
            beyond = arguments[len(in_order) :]
            remedy = _by_name(beyond, [name for name in known if name not in in_order], takes)
            raise TypeError(
                f"{owner}() takes at most {len(in_order)} positional arguments, received {len(arguments)}. {remedy}."
            ) from None
        if not arguments:
            first = in_order[0] if in_order else "argument"
            raise TypeError(f"{owner}() {error}. Write `{owner}({first}=...)`.") from None
        raise TypeError(
            f"{owner}() {error}: received {len(arguments)} by position; its arguments are, in their order, "
            f"{', '.join(in_order)}{by_name}."
        ) from None


def _by_name(values: Sequence[Any], names: Sequence[str], takes: Callable[[str, Any], bool]) -> str:
    """What to do with values beyond those that are given by position.

    Args:
        values: these.
        names: of the arguments that are given by name alone.
        takes: whether an argument may have a value.
    """
    listed = ", ".join(map(shown, values))
    if not names:
        return f"Leave {listed} out"
    fitting = [[name for name in names if takes(name, value)] for value in values]
    if all(len(each) == 1 for each in fitting):
        written = ", ".join(f"{name}={shown(value)}" for (name,), value in zip(fitting, values, strict=True))
        return f"Write `{written}`"
    likely = [name for name in names if any(name in each for each in fitting)] or names
    return f"Give {listed} by its name, one of {', '.join(f'`{name}`' for name in likely)}"


def signature_of_init(cls: type) -> inspect.Signature:
    """The arguments of a class, from its constructor alone."""
    try:
        # So that help() shows types rather than text.
        signature = inspect.signature(cls.__init__, eval_str=True)  # type: ignore[misc]  # of the class itself
    except Exception:
        # Names that are known to type checkers alone; whatever a user wrote there is no error here.
        signature = inspect.signature(cls.__init__)  # type: ignore[misc]  # as above
    parameters = signature.parameters.values()
    return inspect.Signature(list(parameters)[1:])


def merged_signature(cls: type, base: type) -> inspect.Signature:
    """The constructor's signature, with those of the next one's arguments where it passes `*` and `**` on.

    Args:
        cls: the class.
        base: that of all such classes, which passes nothing on.
    """
    own = list(signature_of_init(cls).parameters.values())
    kinds = {parameter.kind for parameter in own}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        return inspect.Signature(own)
    named = [p for p in own if p.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)]
    names = {parameter.name for parameter in named}
    # Classes without a constructor may stand between, as mixtures of several have them.
    own_line = cls.__mro__[: cls.__mro__.index(base) + 1]
    _, *following = [each for each in own_line if "__init__" in vars(each)]
    if not following:
        return inspect.Signature(own)
    inherited = [p for p in inspect.signature(following[0]).parameters.values() if p.name not in names]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        keyword_only = inspect.Parameter.KEYWORD_ONLY
        inherited = [
            p.replace(kind=keyword_only) if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD else p for p in inherited
        ]
    return inspect.Signature(sorted([*named, *inherited], key=lambda parameter: parameter.kind))


def call_methods(kind: type, owner: str, ours: Callable[[type], bool]) -> None:
    """Have Python's errors about the arguments of methods name a class that users know, and not where these stand.

    Args:
        kind: the class that has the methods, from parents that users do not know.
        owner: what its module calls it, where pickles find the methods.
        ours: whether a class among it and its parents is one whose methods may be renamed.
    """
    for name in dir(kind):
        thing = inspect.getattr_static(kind, name)
        home = next((each for each in kind.__mro__ if vars(each).get(name) is thing), object)
        function = getattr(thing, "__func__", thing)
        # Python tells of the innermost, where one is wrapped in others.
        while name[0] != "_" and ours(home) and inspect.isfunction(function):
            function.__qualname__, function.__module__ = f"{owner}.{name}", kind.__module__
            function = getattr(function, "__wrapped__", None)


def copied_as(function: Any, owner: str, module: str | None) -> Any:
    """A method again, as one of another class, which errors name.

    Args:
        function: the method.
        owner: the class.
        module: where that is found.
    """
    copy: Any = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    functools.update_wrapper(copy, function)
    del copy.__wrapped__
    copy.__qualname__, copy.__module__ = f"{owner}.{function.__name__}", str(module)
    return copy
