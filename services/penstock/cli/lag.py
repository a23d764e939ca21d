"""How far consumer groups are behind the ends of what they read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.runtime.broker import TopicPartition
from penstock.runtime.fold import read_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from penstock.runtime.broker import Broker

Ranges = dict[TopicPartition, tuple[int, int]]


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
        ranges[where] = (first if position is None else position.offset, end)
    return ranges


def caught_up(broker: Broker, ranges: Mapping[TopicPartition, tuple[int, int]]) -> bool:
    """Whether these ranges hold no record.

    They may hold offsets all the same: a transaction's marker is one that nobody can read.
    """
    return not any(batch for batch in read_range(broker, ranges))
