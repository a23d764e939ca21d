"""How far a loop is behind: said now and then, and only where telemetry is on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from penstock.runtime import names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from penstock.runtime.broker import Broker, Position, TopicPartition
    from penstock.runtime.telemetry import Telemetry

EVERY: Final = 10.0
"""Seconds between two looks: each asks the broker for the ends of all partitions."""


class Lag:
    """Sets `penstock.consumer.lag` of the partitions a group has here.

    The number is the distance of two offsets, markers of transactions included: a small constant on a quiet
    partition is normal, growth is not.

    Args:
        broker: knows the ends.
        telemetry: is told.
        group: whose positions they are.
        now: seconds of a monotonic clock.
    """

    def __init__(
        self, broker: Broker, telemetry: Telemetry, *, group: str, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._broker = broker
        self._telemetry = telemetry
        self._group = group
        self._now = now
        self._due = now()

    def look(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Called each round; does something every ten seconds, and nothing at all where telemetry is off.

        Raises:
            Unavailable: no broker answers.
        """
        if not self._telemetry.on or self._now() < self._due:
            return
        self._due = self._now() + EVERY
        for where, (_, end) in self._broker.ends(positions).items():
            behind = max(0, end - positions[where].offset)
            self._telemetry.gauge(
                names.LAG, behind, topic=where.topic, partition=where.partition, group=self._group
            )
