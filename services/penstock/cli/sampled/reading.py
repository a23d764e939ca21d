"""The last records of a topic, bounded in rows and seconds, read in no group: nobody notices."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from penstock.cli.exits import Exit, Failure
from penstock.runtime.broker import TopicPartition
from penstock.runtime.errors import NotYet
from penstock.runtime.fold import read_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.runtime.broker import Broker, Record
    from penstock.runtime.wire import Columns, Wire

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


def read_sample(broker: Broker, topic: str, *, rows: int, seconds: float) -> Sample:
    """The last records of a topic.

    Args:
        broker: where.
        topic: by its full name; it has to be there.
        rows: at most so many of each partition; offsets without a record (markers, compaction) count too.
        seconds: at most so long.
    """
    partitions = [TopicPartition(topic, number) for number in range(broker.topics()[topic])]
    ends = broker.ends(partitions)
    ranges = {where: (max(first, last - rows), last) for where, (first, last) in ends.items()}
    deadline = time.monotonic() + seconds
    records: list[Record] = []
    hurried = False
    with closing(read_range(broker, ranges, seconds=0.2)) as batches:  # type: ignore[type-var] # a generator
        for batch in batches:
            records += batch
            if time.monotonic() > deadline:
                hurried = True
                break
    records.sort(key=lambda record: (record.partition, record.offset))
    whole = not hurried and all(ranges[where][0] == first for where, (first, _) in ends.items())
    return Sample(topic=topic, partitions=len(partitions), records=records, whole=whole, hurried=hurried)


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
