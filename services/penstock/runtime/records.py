"""Batches of records and messages by their parts: where only one of them is looked at, none need be made.

`Polled.records` is a sequence of records, whoever made it. A broker that holds them otherwise gives a
`Batch`, which makes a record when it is asked for one; who needs one part of each asks here, whatever it is.
The same the other way round: `Alike` is a sequence of messages, made only for who looks at them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Literal, overload

from penstock.runtime.broker import Message, Record, TopicPartition

Part = Literal["topic", "partition", "offset", "timestamp", "key", "value", "headers"]
_PARTS: Final[Mapping[Part, Callable[[Record], Any]]] = {
    "topic": attrgetter("topic"),
    "partition": attrgetter("partition"),
    "offset": attrgetter("offset"),
    "timestamp": attrgetter("timestamp"),
    "key": attrgetter("key"),
    "value": attrgetter("value"),
    "headers": attrgetter("headers"),
}


class Batch(Sequence[Record]):
    """Records that are made when they are looked at."""

    @abstractmethod
    def column(self, part: Part) -> list[Any]:
        """One part of each record, in order."""

    @abstractmethod
    def pick(self, places: Sequence[int]) -> Sequence[Record]:
        """The records at these places."""

    @property
    @abstractmethod
    def ends(self) -> Mapping[TopicPartition, int]:
        """Where each partition goes on after its last record."""


def column(records: Sequence[Record], part: Part) -> list[Any]:
    """One part of each record, in order.

    >>> column([Record("a", 0, 7, 0, None, b"x"), Record("b", 0, 3, 0, None, b"y")], "value")
    [b'x', b'y']
    """
    return records.column(part) if isinstance(records, Batch) else list(map(_PARTS[part], records))


def pick(records: Sequence[Record], places: Sequence[int]) -> Sequence[Record]:
    """The records at these places, ascending; all of them where there are as many."""
    if len(places) == len(records):
        return records
    return records.pick(places) if isinstance(records, Batch) else [records[place] for place in places]


def ends(records: Sequence[Record]) -> Mapping[TopicPartition, int]:
    """Where each partition goes on after its last record.

    >>> dict(ends([Record("a", 0, 7, 0, None, b"x"), Record("a", 0, 9, 0, None, b"y")]))
    {TopicPartition(topic='a', partition=0): 10}
    """
    if isinstance(records, Batch):
        return records.ends
    # Of one key the last wins.
    return {TopicPartition(record.topic, record.partition): record.offset + 1 for record in records}


@dataclass(frozen=True, slots=True, eq=False)
class Alike(Sequence[Message]):
    """Messages of one topic that differ in key and value alone.

    >>> list(Alike("t", [b"k"], [b"v"]))
    [Message(topic='t', value=b'v', key=b'k', headers=(), partition=None)]
    """

    topic: str
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    partition: int | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, place: int) -> Message: ...
    @overload
    def __getitem__(self, place: slice) -> Alike: ...
    def __getitem__(self, place: int | slice) -> Message | Alike:
        if isinstance(place, slice):
            return Alike(self.topic, self.keys[place], self.values[place], self.partition)
        return Message(self.topic, self.values[place], self.keys[place], (), self.partition)
