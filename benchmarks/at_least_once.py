"""The services at least once instead of exactly once: `python -m benchmarks.at_least_once run SERVICE …`.

Everything is the product's own code but what makes a transaction: here the client has none, and offsets are
committed by themselves, after a flush. A crash between the two repeats a batch, which transactions are there
to prevent; what they cost is the difference.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import confluent_kafka as ck

from penstock import cli
from penstock.runtime.errors import Unavailable
from penstock.runtime.kafka import KafkaBroker
from penstock.runtime.kafka.producers import KafkaTransactionalProducer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock.runtime.broker import Consumer, Position, TopicPartition

FLUSH_SECONDS: Final = 20.0
_NOT_WITHOUT: Final = ("transactional.id", "transaction.timeout.ms")


class PlainClient(ck.Producer):
    """An idempotent client that takes the steps of a transaction, and does nothing at most of them."""

    def __init__(self, config: dict[str, Any]) -> None:
        plain = {name: value for name, value in config.items() if name not in _NOT_WITHOUT}
        super().__init__({**plain, "enable.idempotence": True})

    def init_transactions(self, *_: Any) -> None:
        """Nobody is fenced."""

    def begin_transaction(self, *_: Any) -> None:
        """Nothing opens."""

    def commit_transaction(self, *_: Any) -> None:
        """The offsets are committed already."""

    def abort_transaction(self, *_: Any) -> None:
        """What was written stays written."""


class AtLeastOnceProducer(KafkaTransactionalProducer):
    """Looks like a transactional producer and keeps half of the promise."""

    def send_offsets(self, consumer: Consumer, offsets: Mapping[TopicPartition, Position]) -> None:
        if self._client.flush(FLUSH_SECONDS) or self._failures.last:
            raise Unavailable("not everything could be written")
        positions = [
            ck.TopicPartition(where.topic, where.partition, at.offset, at.metadata)
            for where, at in offsets.items()
        ]
        client = consumer._fetcher.client  # type: ignore[attr-defined]  # noqa: SLF001 - the benchmark's one shortcut
        client.commit(offsets=positions, asynchronous=False)


def _transactional(self: KafkaBroker, transactional_id: str) -> AtLeastOnceProducer:
    config, _ = self._client()
    return AtLeastOnceProducer(config, transactional_id)


if __name__ == "__main__":
    ck.Producer = PlainClient  # type: ignore[assignment,misc]
    KafkaBroker.transactional = _transactional  # type: ignore[method-assign]
    sys.exit(cli.main(sys.argv[1:]))
