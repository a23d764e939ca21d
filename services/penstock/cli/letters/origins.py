"""The records of letters that do not hold them, read where they came from, as long as they are kept there."""

from __future__ import annotations

from collections import defaultdict
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from penstock.contracts.records import Source
from penstock.runtime.broker import TopicPartition
from penstock.runtime.fold import read_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from penstock.runtime.broker import Broker, Record

NEAR: Final = 1_000
"""Records between two wanted ones that are rather read than begun anew behind."""


def runs(offsets: Iterable[int], near: int = NEAR) -> list[tuple[int, int]]:
    """Ranges that hold these offsets, and not much else; ends excluded.

    >>> runs([5, 3, 90, 91], near=10)
    [(3, 6), (90, 92)]
    """
    found: list[tuple[int, int]] = []
    for offset in sorted(set(offsets)):
        if found and offset - found[-1][1] <= near:
            found[-1] = (found[-1][0], offset + 1)
        else:
            found.append((offset, offset + 1))
    return found


def read_places(broker: Broker, places: Sequence[Source]) -> dict[Source, Record]:
    """The records that still stand at these places."""
    by_partition: defaultdict[TopicPartition, list[int]] = defaultdict(list)
    counts = broker.topics()
    for place in places:
        if place.partition < counts.get(place.topic, 0):
            by_partition[TopicPartition(place.topic, place.partition)].append(place.offset)
    ends = broker.ends(by_partition)
    kept = {
        where: runs(offset for offset in offsets if ends[where][0] <= offset < ends[where][1])
        for where, offsets in by_partition.items()
    }
    wanted = set(places)
    found: dict[Source, Record] = {}
    for turn in zip_longest(*([(where, each) for each in them] for where, them in kept.items())):
        for batch in read_range(broker, dict(each for each in turn if each is not None)):
            for record in batch:
                place = Source(topic=record.topic, partition=record.partition, offset=record.offset)
                if place in wanted:
                    found[place] = record
    return found
