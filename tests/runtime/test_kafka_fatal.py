"""A producer that librdkafka has given up: who writes is told, who only counts is not."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from penstock.runtime.broker import Message
from penstock.runtime.errors import Unavailable
from penstock.runtime.kafka.producers import KafkaProducer


class Dead:
    """A client after a fatal error, as confluent_kafka 2.16 shows one: raised by the poll that meets it, then
    by every produce, by its code and without its flag.
    """

    def __init__(self) -> None:
        self.raised = False

    def poll(self, seconds: float) -> int:
        assert seconds == 0
        if not self.raised:
            self.raised = True
            raise KafkaException(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "gap", True))
        return 0

    def produce(self, topic: str, **_: object) -> None:
        raise KafkaException(KafkaError(KafkaError._FATAL, f"{topic} is not written to any more"))

    def __len__(self) -> int:
        return 2


def test_a_fatal_error_is_the_next_writers_not_the_counters() -> None:
    producer = KafkaProducer({"bootstrap.servers": "127.0.0.1:1"})
    producer._client = Dead()  # type: ignore[assignment]  # what is asked of it here
    assert (producer.failed(), producer.waiting()) == (0, 2)
    for _ in range(2):
        with pytest.raises(Unavailable, match="is not written to any more"):
            producer.send(Message("t", b"one more"))
