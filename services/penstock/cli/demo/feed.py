"""A producer of the demo: sends its records in the order of event time, no faster than the pace allows."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from penstock.runtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.cli.demo.pace import Limit
    from penstock.runtime.broker import Broker, Message, Producer

BATCH = 250
"""Records between two flushes: what is sent again where one of them failed."""
FLUSH_SECONDS = 30.0


class Feed:
    """Sends messages and remembers how far it has come.

    A batch of which any record failed, as while the broker is away, is sent again as a whole: a producer that
    cannot know what arrived must repeat itself, and the pipeline takes one event per id.

    Args:
        broker: where to.
        times: event time of each message in milliseconds, ascending.
        messages: what to send.
        pace: how far to go.
    """

    def __init__(
        self,
        broker: Broker,
        times: Sequence[int],
        messages: Sequence[Message],
        pace: Limit,
    ) -> None:
        self._broker = broker
        self._times = times
        self._messages = messages
        self._pace = pace
        self.sent = 0
        """Messages that are in the log."""
        self.repeated = 0
        """Messages sent once more because their batch had failed."""

    @property
    def total(self) -> int:
        return len(self._messages)

    def sent_before(self, until: int | None) -> bool:
        """Whether everything before an event time is in the log, or everything."""
        return self.sent >= (self.total if until is None else bisect_left(self._times, until))

    def run(self) -> None:
        """Send everything; returns when it is in the log.

        Raises:
            Stopped: the replay is given up.
        """
        producer = self._broker.producer()
        try:
            while self.sent < self.total:
                end = self._pace.allowed(self._times, self.sent, BATCH)
                batch = self._messages[self.sent : end]
                while not _delivered(producer, batch):
                    self.repeated += len(batch)
                    producer.close()
                    producer = self._broker.producer()
                    self._pace.allowed(self._times, self.sent, BATCH)  # raises where the replay is given up
                self.sent = end
        finally:
            producer.close()


def _delivered(producer: Producer, batch: Sequence[Message]) -> bool:
    """Whether all of the batch is in the log; if not, some of it may be."""
    failed = producer.failed()
    try:
        for message in batch:
            while not producer.send(message):
                producer.flush(0.1)
        return producer.flush(FLUSH_SECONDS) == 0 and producer.failed() == failed
    except Unavailable:
        return False
