"""What the join knows, id by id, and the store that it keeps this in."""

from __future__ import annotations

import hashlib
import heapq
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from penstock.contracts.records import Label, Origin, OutcomeKind

Force = tuple[int, bytes]
"""What orders the labels of one id: time, then hash of the value."""


def force_of(label: Label) -> Force:
    """What a label is ordered by among those of its id."""
    return label.time, hashlib.blake2b(struct.pack("<d", label.label), digest_size=8).digest()


class Identity(NamedTuple):
    id: str
    origin: Origin


class Made(NamedTuple):
    """A prediction that can be joined: its event time, and the offset of its record."""

    time: int
    offset: int


class Known(NamedTuple):
    """What is known of the prediction of one origin.

    Args:
        origin: whose it is.
        made: the first one; None where retention has removed its record, or nothing but its fate is known.
        kind: of the last verdict in the log; None while there is none.
        force: of the label that the verdict rests on.
    """

    origin: Origin
    made: Made | None
    kind: OutcomeKind | None = None
    force: Force | None = None


class Queue(Enum):
    """What waits for its horizon to pass, oldest first."""

    OPEN = 0
    """Predictions without a verdict."""
    ALONE = 1
    """Labels whose prediction has not come."""


Wait = tuple[Queue, int]
"""A place in a queue: since which event time."""


@dataclass(slots=True)
class Case:
    """All that is known of one id. It is changed in place, and then given to `Store.keep`.

    Of these there is one for each id that a process keeps in memory, so its parts are tuples: the empty ones
    cost nothing, and the collector of garbage has little to look at.

    Args:
        name: the id.
        known: its predictions, one for each origin, by origin.
        labels: each once, in the order in which they came.
        unmatched: it was said in the log that a label found no prediction.
        waiting: the places it has in the queues; the store's to keep.
    """

    name: str
    known: tuple[Known, ...] = ()
    labels: tuple[Label, ...] = ()
    unmatched: bool = False
    waiting: tuple[Wait, ...] = ()

    def of(self, origin: Origin) -> Known | None:
        """What is known of the prediction of an origin."""
        for each in self.known:
            if each.origin is origin:
                return each
        return None

    def learn(self, known: Known) -> None:
        """Put what is known of a prediction in the place of what was."""
        others = [each for each in self.known if each.origin is not known.origin]
        self.known = tuple(sorted([*others, known])) if others else (known,)

    @property
    def made(self) -> bool:
        """Whether there is a prediction."""
        return any(each.made is not None for each in self.known)

    @property
    def decided(self) -> bool:
        """Whether there is a verdict on any."""
        return any(each.kind is not None for each in self.known)

    def waits(self) -> tuple[Wait, ...]:
        """The places it is to have in the queues: they follow from the rest.

        >>> case = Case("a", labels=(Label(id="a", time=7, label=1.0),))
        >>> case.waits() == ((Queue.ALONE, 7),)
        True
        >>> case.learn(Known(Origin.STREAM, Made(time=5, offset=0)))
        >>> case.waits() == ((Queue.OPEN, 5),)
        True
        """
        if not self.known:
            alone = () if self.unmatched else self.labels
            return tuple({(Queue.ALONE, label.time): None for label in alone})
        made = [each.made for each in self.known if each.kind is None and each.made is not None]
        return tuple({(Queue.OPEN, each.time): None for each in made})


class Store(Protocol):
    """Where the join of one partition keeps its cases."""

    def case(self, name: str) -> Case:
        """What is known of an id; an empty case where that is nothing."""
        ...

    def keep(self, case: Case) -> None:
        """Take in a case that was changed, with its places in the queues."""
        ...

    def due(self, queue: Queue, before: int) -> Iterator[tuple[int, str]]:
        """Event time and id of what waits in a queue since before an event time, in this order.

        Who takes one has to give it up, by `keep`, before the next one is asked for.
        """
        ...


class MemoryStore:
    """Cases in memory, and gone with it: for tests and backtests.

    >>> store = MemoryStore()
    >>> case = store.case("a")
    >>> case.learn(Known(Origin.STREAM, Made(time=5, offset=0)))
    >>> store.keep(case)
    >>> list(store.due(Queue.OPEN, 5)), next(store.due(Queue.OPEN, 6))
    ([], (5, 'a'))
    """

    def __init__(self) -> None:
        self.cases: dict[str, Case] = {}
        self._heaps: dict[Queue, list[tuple[int, str]]] = {queue: [] for queue in Queue}

    def case(self, name: str) -> Case:
        return self.cases.get(name) or Case(name)

    def keep(self, case: Case) -> None:
        self.cases[case.name] = case
        waits = case.waits()
        for queue, time in waits:
            if (queue, time) not in case.waiting:
                heapq.heappush(self._heaps[queue], (time, case.name))
        case.waiting = waits  # what has left a heap is passed over when it comes to its top

    def due(self, queue: Queue, before: int) -> Iterator[tuple[int, str]]:
        heap = self._heaps[queue]
        while heap and heap[0][0] < before:
            time, name = heap[0]
            if (queue, time) in self.cases[name].waiting:
                yield time, name
            else:
                heapq.heappop(heap)
