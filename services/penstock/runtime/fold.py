"""Compacted topics as state: read from the first record to the last, then followed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from penstock.runtime.broker import Broker, Reader, Record, TopicPartition
from penstock.runtime.errors import Unavailable

_SLICE = 1000
_WAIT = 0.2


def read_range(
    broker: Broker, ranges: Mapping[TopicPartition, tuple[int, int]], *, seconds: float = 1.0
) -> Iterator[list[Record]]:
    """The committed records of each partition from its first offset up to, not including, its last.

    Yields a batch at a time, an empty one where `seconds` brought nothing, so that the caller stays alive.
    Offsets have gaps (markers, compaction), so the end is where the position is, not where a record was.
    """
    missing = {where for where, (start, end) in ranges.items() if start < end}
    if not missing:
        return
    reader = broker.reader({where: ranges[where][0] for where in missing})
    try:
        while missing:
            polled = reader.poll(_SLICE, seconds)
            wanted = []
            for record in polled.records:
                where = TopicPartition(record.topic, record.partition)
                if record.offset < ranges[where][1]:
                    wanted.append(record)
                if record.offset >= ranges[where][1] - 1:
                    missing.discard(where)
            missing -= polled.ended
            missing -= {gap.partition for gap in polled.gaps}
            yield wanted
    finally:
        reader.close()


def settled(broker: Broker, partitions: Iterable[TopicPartition]) -> Iterator[None]:
    """Wait until no transaction is open on the partitions that a task writes and rebuilds its state from.

    The positions that a task takes over may be committed while the end of the same transaction is still on
    its way to the partitions it wrote. Yields meanwhile, so that the caller stays alive; a transaction lasts
    15 seconds at most.
    """
    mine = frozenset(partitions)
    while broker.unsettled(mine):
        yield


def read_written(broker: Broker, partitions: Iterable[TopicPartition]) -> Iterator[list[Record]]:
    """All that a task's own output partitions hold once they are `settled`, as `read_range`."""
    mine = frozenset(partitions)
    for _ in settled(broker, mine):
        yield []
    yield from read_range(broker, broker.ends(mine))


class Fold:
    """Follows whole topics, in no group: `poll` brings what is new.

    Args:
        topics: full names.

    Raises:
        Unavailable: no broker answers, or a topic is not there yet.
    """

    def __init__(self, broker: Broker, topics: Sequence[str]) -> None:
        counts = broker.topics()
        if missing := [topic for topic in topics if topic not in counts]:
            raise Unavailable(f"no topic {missing[0]}: `penstock up` or `penstock apply` makes it")
        partitions = [
            TopicPartition(topic, partition) for topic in topics for partition in range(counts[topic])
        ]
        self._broker = broker
        starts = broker.ends(partitions)
        self._reader: Reader = broker.reader({where: starts[where][0] for where in partitions})

    def poll(self, seconds: float = 0.0) -> Sequence[Record]:
        return self._reader.poll(_SLICE, seconds).records

    def catch_up(self) -> Iterator[Record]:
        """Everything there is now, up to the last record that was committed before this was called."""
        ends = self._broker.ends(self._reader.positions)
        while any(self._reader.positions.get(where, last) < last for where, (_, last) in ends.items()):
            yield from self.poll(_WAIT)

    def close(self) -> None:
        self._reader.close()
