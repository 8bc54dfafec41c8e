"""The dictionaries in a torch optimizer's state, read in every step: whoever may have put other tensors there."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any

import torch

Keys = frozenset[str]
State = MutableMapping[torch.Tensor, Any]
"""The `state` of a torch optimizer: what it keeps for each parameter."""


class Entries:
    """What the state has for the parameters that take part.

    Args:
        parameters: of which some have an entry.
        entries: one for each of them, or None.
        keys: for each of them, those of all that the class itself keeps there and nothing else.

    Attributes:
        held: the entries that there are.
        alone: whether nobody else keeps anything there.
    """

    def __init__(self, parameters: Sequence[torch.Tensor], entries: Iterable[Any], keys: Sequence[Keys]) -> None:
        self._parameters, self._keys = list(parameters), list(keys)
        self._known: object = None
        self._remember(entries)

    def _remember(self, entries: Iterable[Any]) -> None:
        """The state's own dictionaries: to look a parameter up in it takes longer than to see that all are the same."""
        both = [(entry, keys) for entry, keys in zip(entries, self._keys, strict=True) if entry]
        self.held, self._held_keys = [entry for entry, _ in both], [keys for _, keys in both]
        # Where nobody else keeps anything, all there is is read in a third of the time.
        self.alone = all([type(entry) is dict and entry.keys() == keys for entry, keys in both])
        self._readers = [] if self.alone else _readers(self._held_keys)

    def look(self, state: State, known: object) -> None:
        """Look them up in the state again if it has got other dictionaries.

        Args:
            state: of the optimizer.
            known: another object then.
        """
        if known is not self._known:
            self._known = known
            self._remember(map(state.get, self._parameters))

    def take_in(self, parameters: Sequence[torch.Tensor], entries: Sequence[Any], keys: Sequence[Keys]) -> list[Any]:
        """Take in those of further parameters; what stands in them under the class's own keys.

        Args:
            parameters, entries, keys: as of the class.
        """
        further = Entries(parameters, entries, keys)
        if not self.alone:
            # Of all in the same way.
            further.alone, further._readers = False, _readers(further._held_keys)
            self._readers = [*self._readers, *further._readers]
        self._parameters += further._parameters
        self._keys += further._keys
        self._held_keys = [*self._held_keys, *further._held_keys]
        # In the order of all they are looked up again.
        self._known = None
        self.held = [*self.held, *further.held]
        return further.contents()

    def contents(self) -> list[Any]:
        """All that the class itself keeps in them.

        Raises:
            KeyError: if something is missing.
        """
        pieces = map(dict.values, self.held) if self.alone else map(operator.call, self._readers, self.held)
        return [*itertools.chain.from_iterable(pieces)]


def _readers(keys: Sequence[Keys]) -> list[Callable[[Mapping[str, Any]], Iterable[Any]]]:
    """Functions that read the values under some keys of dictionaries; the same one for the same keys."""
    known = {each: _reader(each) for each in set(keys)}
    return [known[each] for each in keys]


def _reader(keys: Keys) -> Callable[[Mapping[str, Any]], Iterable[Any]]:
    """A function that reads some keys of a dictionary."""
    # Of a single key an itemgetter gives no tuple.
    return operator.itemgetter(*sorted(keys), min(keys)) if keys else lambda entry: ()
