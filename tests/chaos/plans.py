"""Which runs are disturbed, how often, how and when: the same for the same seed."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.chaos.kinds import KINDS
from tests.chaos.moments import Moment, random_moment
from tests.chaos.tiny import Layout

A_RUN, A_SHORT_RUN = 5, 6  # disturbances of a run
NEW = 5  # of so many runs one is of new processes instead of forks
ALL = 99


@dataclass(frozen=True)
class Planned:
    """A disturbance to come: its kind, and when."""

    kind: str
    moment: Moment


@dataclass(frozen=True)
class Plan:
    """A run to come.

    Attributes:
        number: Of the run, from 0.
        layout: How it trains.
        seed: Of what is left to chance while it runs.
        new: So many of its commands, the first ones, are new processes, with their imports; the others are forks.
        each: Its disturbances, in order.
    """

    number: int
    layout: Layout
    seed: int
    new: int
    each: tuple[Planned, ...]


def plans(layouts: Sequence[Layout], seed: int, *, mounts: bool, a_run: int = A_RUN) -> Iterator[Plan]:
    """Yield runs without end: layouts in turn, and within one and two processes all kinds in turn."""
    rng = random.Random(seed)
    decks: dict[int, list[str]] = {layout.processes: [] for layout in layouts}
    number = 0
    while True:
        layout = layouts[number % len(layouts)]
        each = []
        for _ in range(a_run):
            deck = decks[layout.processes]
            if not deck:
                known = [
                    name
                    for name, kind in KINDS.items()
                    if layout.processes in kind.processes and (mounts or not kind.disk)
                ]
                rng.shuffle(known)
                deck += known
            kind = deck.pop()
            each.append(Planned(kind, random_moment(rng, KINDS[kind].phases)))
        each.sort(key=lambda one: one.moment.order)
        if a_run == A_SHORT_RUN:  # seconds each
            new = int(number % len(layouts) == len(layouts) - 1)
        else:
            new = ALL if number % NEW == NEW - 1 else 0
        yield Plan(number, layout, rng.randrange(2**32), new, tuple(each))
        number += 1
