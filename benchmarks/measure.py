"""Side by side: in every round each contender takes a turn, in random order, so that what slows the machine slows all.

Two contenders are compared within a round, and it is these ratios that are summed up, by median and quartiles.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from statistics import quantiles
from typing import NamedTuple, Protocol

from load import Patience, Watch

_TURN = 0.004
"""Seconds of a turn: the reference takes as many steps as fit, the others as many."""
_MOST_STEPS = 50
_PAUSE = 0.002
"""Seconds before each turn: threads of the last contender may still spin, waiting for more work."""
_SLOW = 4.0
"""A contender that takes k times as long as that many steps of the reference takes part in every k-th round."""
_BLOCK = 0.5
"""Seconds of rounds that are kept or played again together."""
_LEAST = 5
"""The rounds in which even the slowest takes part."""

Round = Mapping[str, float]
"""The seconds of those who took part."""


class Player(Protocol):
    """What takes turns."""

    def turn(self, steps: int, renew: bool = False) -> float: ...


class Spread(NamedTuple):
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """None of no values at all."""
        values = list(values)
        if not values:
            return None
        low, middle, high = quantiles(values * 2 if len(values) == 1 else values, n=4, method="inclusive")
        return cls(middle, low, high)


def seconds(rounds: Iterable[Round], name: str) -> Spread | None:
    """How long a step takes."""
    return Spread.of(times[name] for times in rounds if name in times)


def ratio(rounds: Iterable[Round], name: str, reference: str, factor: float = 1.0) -> Spread | None:
    """How many times as long one takes as the other, times a factor, over the rounds in which both took part."""
    return Spread.of(
        factor * times[name] / times[reference] for times in rounds if name in times and reference in times
    )


def difference(rounds: Iterable[Round], name: str, reference: str, factor: float = 1.0) -> Spread | None:
    """How much longer one takes than the other, times a factor, over the rounds in which both took part."""
    return Spread.of(
        factor * (times[name] - times[reference]) for times in rounds if name in times and reference in times
    )


def play(
    players: Mapping[str, Player],
    reference: str,
    rounds: int,
    renew: bool = False,
    patience: Patience | None = None,
    on_round: Callable[[], None] = lambda: None,
    seed: int = 0,
    units: Mapping[str, str] | None = None,
) -> tuple[list[Round], int]:
    """Let all take their turns.

    Args:
        players: by name.
        reference: the one whose time decides how many steps make a turn.
        rounds: how many.
        renew: new gradient arrays before every step.
        patience: while it lasts, rounds in which other processes kept the machine busy are played again.
        on_round: called after each round.
        seed: of the order.
        units: for players by whose side it is another than the reference that counts, that one.

    Returns:
        The rounds, and how many of them were disturbed nevertheless.
    """
    patience = patience or Patience(0.0)
    typical = {}
    for name, player in players.items():
        player.turn(1, renew)  # makes slots and compiles
        typical[name] = player.turn(2, renew)
    steps = min(max(int(_TURN / typical[reference]), 1), _MOST_STEPS)
    rarest = max(rounds // _LEAST, 1)
    unit = {name: typical[(units or {}).get(name, reference)] for name in players}
    every = {name: min(max(int(own / unit[name] / _SLOW), 1), rarest) for name, own in typical.items()}
    order = random.Random(seed)
    played: list[Round] = []
    disturbed = 0
    while len(played) < rounds:
        watch, block = Watch(), []
        # The system counts processor time in ticks of 10 ms: a short round alone would not show who used it.
        while watch.elapsed() < _BLOCK and len(played) + len(block) < rounds:
            number = len(played) + len(block)
            names = [name for name in players if number % every[name] == 0]
            order.shuffle(names)
            times = {}
            for name in names:
                time.sleep(_PAUSE)
                times[name] = players[name].turn(steps, renew)
            block.append(times)
        if watch.disturbed():
            if patience.lasts():
                patience.wait_for_quiet()
                continue
            disturbed += len(block)
        played += block
        for _ in block:
            on_round()
    return played, disturbed
