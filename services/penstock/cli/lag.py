"""How far consumer groups are behind the ends of what they read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock.runtime.broker import TopicPartition
from penstock.runtime.fold import read_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from penstock.runtime.broker import Broker

Ranges = dict[TopicPartition, tuple[int, int]]
WINDOW: Final = 1_000
"""Offsets looked at in one go for the first record that is left; there is nearly always one at once."""


def unread(broker: Broker, group: str, topics: Iterable[str]) -> Ranges:
    """What each partition holds that a group has not committed: offsets [next, last stable).

    The slot joins nothing: a consumer that does not subscribe is no member.
    """
    known = broker.topics()
    partitions = [TopicPartition(topic, number) for topic in topics for number in range(known.get(topic, 0))]
    consumer = broker.consumer(group=group, slot="lag")
    try:
        committed = consumer.committed(partitions)
    finally:
        consumer.close()
    ranges: Ranges = {}
    for where, (first, end) in broker.ends(partitions).items():
        position = committed[where]
        ranges[where] = (first if position is None else max(first, position.offset), end)
    return ranges


def caught_up(broker: Broker, ranges: Mapping[TopicPartition, tuple[int, int]]) -> bool:
    """Whether these ranges hold no record.

    They may hold offsets all the same: a transaction's marker is one that nobody can read.
    """
    return not any(batch for batch in read_range(broker, ranges))


def behind(broker: Broker, ranges: Mapping[TopicPartition, tuple[int, int]]) -> dict[TopicPartition, int]:
    """How many offsets there are from the first record of each range to its end: 0 where no record is left.

    Markers alone are no lag; those between records are counted, since only reading all would tell.
    """
    left = dict.fromkeys(ranges, 0)
    ahead = dict(ranges)
    while ahead:
        windows = {where: (start, min(start + WINDOW, end)) for where, (start, end) in ahead.items()}
        for batch in read_range(broker, windows):
            for record in batch:
                where = TopicPartition(record.topic, record.partition)
                left[where] = max(left[where], ranges[where][1] - record.offset)
        ahead = {
            where: (stop, ranges[where][1])
            for where, (_, stop) in windows.items()
            if not left[where] and stop < ranges[where][1]
        }
    return left
