"""The dictionaries in a torch optimizer's state, read in every step: whoever may have put other tensors there."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch


class Entries:
    """What the state has for the parameters that take part.

    Args:
        parameters: of which some have an entry.
        entries: one for each of them, or None.
        keys: of all that the class itself keeps in the entries.
        all_alike: whether every entry has all of these keys.

    Attributes:
        held: the entries that there are.
        alone: whether nobody else keeps anything there.
    """

    def __init__(
        self, parameters: Sequence[torch.Tensor], entries: Iterable[Any], keys: set[str], all_alike: bool
    ) -> None:
        self._parameters, self._keys, self._all_alike = list(parameters), keys, all_alike
        self._known: object = None
        self._remember(entries)

    def _remember(self, entries: Iterable[Any]) -> None:
        """The state's own dictionaries: to look a parameter up in it takes longer than to see that all are the same."""
        self.held = [entry for entry in entries if entry]
        # Where nobody else keeps anything, all there is is read in a third of the time.
        keys = self._keys
        self.alone = all([type(entry) is dict and entry.keys() == keys for entry in self.held])
        reader = _reader if self._all_alike else _reader_of_some
        self._read_entry = dict.values if self.alone else reader(keys)

    def look(self, state: Any, known: object) -> None:
        """Look them up in the state again if it has got other dictionaries.

        Args:
            state: of the optimizer.
            known: another object then.
        """
        if known is not self._known:
            self._known = known
            self._remember(map(state.get, self._parameters))

    def take_in(self, parameters: Sequence[torch.Tensor], entries: Sequence[Any]) -> list[Any]:
        """Take in those of further parameters, of nothing else than the class's own keys; what stands in them."""
        self._parameters += parameters
        self._known = None
        further = [entry for entry in entries if entry]
        self.held = [*self.held, *further]
        return self._contents_of(further)

    def contents(self) -> list[Any]:
        """All that the class itself keeps in them.

        Raises:
            KeyError: if something is missing.
        """
        return self._contents_of(self.held)

    def _contents_of(self, entries: Sequence[Any]) -> list[Any]:
        return [*itertools.chain.from_iterable(map(self._read_entry, entries))]


def _reader(keys: set[str]) -> Callable[[Mapping[str, Any]], Iterable[Any]]:
    """A function that reads some keys of a dictionary."""
    # Of a single key an itemgetter gives no tuple.
    return operator.itemgetter(*keys, *list(keys)[:1]) if keys else lambda entry: ()


def _reader_of_some(keys: set[str]) -> Callable[[Mapping[str, Any]], Iterable[Any]]:
    """The same where some entries lack some of the keys: of these it gives None."""
    return lambda entry: map(entry.get, keys)
