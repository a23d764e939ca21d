"""The last records of a topic, bounded in rows and seconds, read in no group: nobody notices."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from penstock.cli.exits import Exit, Failure
from penstock.runtime.broker import TopicPartition
from penstock.runtime.errors import NotYet
from penstock.runtime.fold import read_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.runtime.broker import Broker, Record
    from penstock.runtime.wire import Columns, Wire

_RUNS: Final = 20
"""Places all over a topic at which it is read."""
_AGAIN: Final = 0.2
"""Seconds before a registry is asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Some of a topic's records, each partition in its order.

    Args:
        topic: its full name.
        partitions: how many it has.
        records: those that were read.
        whole: every record that the topic holds is there.
        hurried: time ran out before all that were asked for had come.
    """

    topic: str
    partitions: int
    records: Sequence[Record]
    whole: bool
    hurried: bool

    def told(self) -> str:
        """What was read, in words.

        >>> Sample(topic="crm", partitions=2, records=[], whole=True, hurried=False).told()
        'crm holds no record'
        """
        count = len(self.records)
        if not count:
            return (
                f"no record of {self.topic} came in time" if self.hurried else f"{self.topic} holds no record"
            )
        what = "all" if self.whole else "the last"
        more = ": time ran out before there were more" if self.hurried else ""
        parts = "1 partition" if self.partitions == 1 else f"{self.partitions} partitions"
        return f"{what} {count:,} records of {self.topic} ({parts}){more}"


def read_sample(broker: Broker, topic: str, *, rows: int, seconds: float, spread: bool = False) -> Sample:
    """The last records of a topic, or some from all over it.

    Args:
        broker: where.
        topic: by its full name; it has to be there.
        rows: at most so many of each partition; offsets without a record (markers, compaction) count too.
        seconds: at most so long.
        spread: in runs at equal distances from the first record to the last, instead of the last ones.
    """
    partitions = [TopicPartition(topic, number) for number in range(broker.topics()[topic])]
    ends = broker.ends(partitions)
    runs = {where: _runs(*each, rows, _RUNS if spread else 1) for where, each in ends.items()}
    deadline = time.monotonic() + seconds
    records: list[Record] = []
    for turn in zip_longest(*([(where, each) for each in them] for where, them in runs.items())):
        ranges = dict(each for each in turn if each is not None)
        with closing(read_range(broker, ranges, seconds=0.2)) as batches:  # type: ignore[type-var] # a generator
            for batch in batches:
                records += batch
                if time.monotonic() > deadline:
                    break
        if time.monotonic() > deadline:
            break
    hurried = time.monotonic() > deadline
    records.sort(key=lambda record: (record.partition, record.offset))
    whole = not hurried and all(last - first <= rows for first, last in ends.values())
    return Sample(topic=topic, partitions=len(partitions), records=records, whole=whole, hurried=hurried)


def _runs(first: int, last: int, rows: int, count: int) -> list[tuple[int, int]]:
    """So many ranges of offsets, together of so many rows, evenly from the first offset to the last.

    >>> _runs(0, 100, 10, 1), _runs(0, 100, 10, 2), _runs(5, 9, 10, 2)
    ([(90, 100)], [(0, 5), (95, 100)], [(5, 9)])
    """
    if last - first <= rows or count == 1:
        return [(max(first, last - rows), last)]
    size = max(rows // count, 1)
    step = (last - first - size) / (count - 1)
    starts = [first + round(step * each) for each in range(count)]
    return [(start, start + size) for start in starts]


def read_columns(wire: Wire, records: Sequence[Record], *, seconds: float) -> Columns:
    """The fields of a sample.

    Args:
        wire: reads it; one that does not wait for unknown schemas.
        records: the sample.
        seconds: how long a schema registry may take.

    Raises:
        Failure: it does not answer (6).
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return wire.read(records)
        except NotYet as missing:
            if time.monotonic() > deadline:
                raise Failure(str(missing), Exit.UNREACHABLE) from missing
        time.sleep(_AGAIN)
