"""What one call to librdkafka brought, as records that are made when they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, overload

import confluent_kafka as ck

from penstock.runtime.broker import Record, TopicPartition
from penstock.runtime.records import Batch, Part

if TYPE_CHECKING:
    from penstock.runtime.broker import Headers

# What runs for each record that any service reads goes by columns, and by functions that are written in C.
_MAKE: Final[Callable[[Any], Record]] = partial(tuple.__new__, Record)
_STAMP: Final[Callable[[Any], int]] = itemgetter(1)
_PARTS: Final[Mapping[Part, Callable[[Any], Any]]] = {
    "topic": ck.Message.topic,
    "partition": ck.Message.partition,
    "offset": ck.Message.offset,
    "key": ck.Message.key,
    "value": ck.Message.value,
}


class Messages(Batch):
    """Messages that are records.

    Args:
        messages: as librdkafka gave them, without those that tell of an error.
        ends: where their partitions go on; looked up where left out.
    """

    __slots__ = ("_ends", "_made", "_messages")

    def __init__(self, messages: Sequence[Any], ends: Mapping[TopicPartition, int] | None = None) -> None:
        self._messages = messages
        self._ends = ends
        self._made: list[Record] | None = None

    def column(self, part: Part) -> list[Any]:
        messages = self._messages
        match part:
            case "timestamp":
                return list(map(_STAMP, map(ck.Message.timestamp, messages)))
            case "headers":
                raw: list[Any] = list(map(ck.Message.headers, messages))
                return list(map(_headers, raw) if any(raw) else repeat((), len(raw)))
            case _:
                return list(map(_PARTS[part], messages))

    def pick(self, places: Sequence[int]) -> Messages:
        return Messages([self._messages[place] for place in places])

    @property
    def ends(self) -> Mapping[TopicPartition, int]:
        if self._ends is None:
            self._ends = ends_of(self._messages)
        return self._ends

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[Record]:
        if self._made is None:
            parts: tuple[Part, ...] = (
                "topic", "partition", "offset", "timestamp", "key", "value", "headers",
            )  # fmt: skip
            self._made = list(map(_MAKE, zip(*map(self.column, parts), strict=True)))
        return iter(self._made)

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> Messages: ...
    def __getitem__(self, place: int | slice) -> Record | Messages:
        if isinstance(place, slice):
            return Messages(self._messages[place])
        if self._made is not None:
            return self._made[place]
        [record] = Messages([self._messages[place]])
        return record


def ends_of(messages: Sequence[Any]) -> dict[TopicPartition, int]:
    """Where each partition goes on after its last message."""
    topics, partitions, offsets = (list(map(_PARTS[part], messages)) for part in _PLACE)
    # Of one key the last wins.
    if topics and topics.count(topics[0]) == len(topics):  # half the time, and so it is nearly always
        of_one = dict(zip(partitions, offsets, strict=True))
        return {TopicPartition(topics[0], number): offset + 1 for number, offset in of_one.items()}
    last = dict(zip(zip(topics, partitions, strict=True), offsets, strict=True))
    return {TopicPartition(*where): offset + 1 for where, offset in last.items()}


_PLACE: Final[tuple[Part, ...]] = ("topic", "partition", "offset")


def _headers(headers: Any) -> Headers:
    return tuple([(name, value or b"") for name, value in headers]) if headers else ()
