"""What the log says of the partitions that other processes of the join have: the end of it, now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from penstock.contracts.records import JoinAdvanced
from penstock.ingest.domain.clock import Elsewhere
from penstock.kernel.errors import Invalid
from penstock.runtime.broker import Broker, TopicPartition
from penstock.runtime.codec import Codec
from penstock.runtime.fold import read_range

EVERY: Final = 1.0
"""Seconds between two looks, each of which asks the broker for ends; what waits for them has waited long."""
_TAIL: Final = 50
"""Offsets to look at first. The word is the last record of a transaction, and a marker follows; but what was
aborted lies behind it, too."""


class Lookout:
    """Reads the last `JoinAdvanced` of partitions of the outcomes.

    Args:
        now: seconds of a monotonic clock.
    """

    def __init__(self, broker: Broker, codec: Codec, *, now: Callable[[], float]) -> None:
        self._broker = broker
        self._codec = codec
        self._now = now
        self._due = now()
        self._ends: dict[TopicPartition, int] = {}

    def forget(self) -> None:
        """Nobody knows any more what was found: everything is news to the next look."""
        self._ends.clear()

    def look(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Elsewhere]:
        """What is new since the last look; nothing before another is due."""
        if self._now() < self._due:
            return {}
        self._due = self._now() + EVERY
        found: dict[TopicPartition, Elsewhere] = {}
        ranges = self._broker.ends(partitions)
        moved = {where: each for where, each in ranges.items() if each[1] != self._ends.get(where)}
        self._ends |= {where: end for where, (_, end) in moved.items()}
        tail = _TAIL
        while moved:
            found |= self._last(
                {where: (max(start, end - tail), end) for where, (start, end) in moved.items()}
            )
            moved = {
                where: (start, end - tail)
                for where, (start, end) in moved.items()
                if where not in found and end - tail > start
            }
            tail *= 20
        return found

    def _last(self, ranges: dict[TopicPartition, tuple[int, int]]) -> dict[TopicPartition, Elsewhere]:
        found = {}
        for records in read_range(self._broker, ranges):
            for record in records:
                try:
                    event = self._codec.decode(record.value or b"").value
                except Invalid:
                    continue
                if isinstance(event, JoinAdvanced):
                    where = TopicPartition(record.topic, record.partition)
                    found[where] = Elsewhere(event.watermark, event.idle)
        return found
