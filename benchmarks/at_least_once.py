"""The services at least once instead of exactly once: `python -m benchmarks.at_least_once run SERVICE …`.

Everything is the product's own code but one class: what the loop takes for a transaction is here produce,
flush, commit the offsets. A crash between the last two repeats a batch, which is what transactions are for;
what they cost is the difference between the two.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import confluent_kafka as ck

from penstock import cli
from penstock.runtime.errors import Unavailable
from penstock.runtime.kafka import KafkaBroker

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from penstock.runtime.broker import Consumer, Message, Position, TopicPartition

FLUSH_SECONDS: Final = 20.0


class AtLeastOnceProducer:
    """Looks like a transactional producer and keeps half of the promise."""

    def __init__(self, broker: KafkaBroker) -> None:
        self._producer = broker.producer()
        self._failed = 0

    def begin(self) -> None:
        """Nothing opens."""

    def send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            while not self._producer.send(message):
                self._producer.flush(0.01)

    def send_offsets(self, consumer: Consumer, offsets: Mapping[TopicPartition, Position]) -> None:
        if self._producer.flush(FLUSH_SECONDS) or self._producer.failed() != self._failed:
            raise Unavailable("not everything could be written")
        positions = [
            ck.TopicPartition(where.topic, where.partition, at.offset, at.metadata)
            for where, at in offsets.items()
        ]
        client = consumer._fetcher.client  # type: ignore[attr-defined]  # noqa: SLF001 - the benchmark's one shortcut
        client.commit(offsets=positions, asynchronous=False)

    def commit(self) -> None:
        """The offsets are committed already."""

    def abort(self) -> None:
        """What was written stays written."""

    def close(self) -> None:
        self._producer.close()


def _transactional(self: KafkaBroker, transactional_id: str) -> AtLeastOnceProducer:
    del transactional_id  # nobody is fenced
    return AtLeastOnceProducer(self)


if __name__ == "__main__":
    KafkaBroker.transactional = _transactional  # type: ignore[method-assign,assignment]
    sys.exit(cli.main(sys.argv[1:]))
