"""A sample of a real Kafka: transactions leave holes, and nobody is told that it was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka.admin import AdminClient

from penstock.cli.sampled.reading import read_sample
from penstock.runtime.broker import Message, Topic
from penstock.runtime.kafka import KafkaBroker

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_the_last_records_and_some_from_all_over(kafka: str, prefix: str) -> None:
    broker = KafkaBroker(kafka)
    topic = f"{prefix}raw"
    broker.create([Topic(name=topic, partitions=2)])
    producer = broker.transactional(f"{prefix}writer")
    for batch in _batches(topic):
        producer.begin()
        producer.send(batch)
        producer.commit()
    producer.close()

    every = read_sample(broker, topic, rows=10_000, seconds=20)
    assert (len(every.records), every.whole, every.hurried) == (400, True, False)
    last = read_sample(broker, topic, rows=50, seconds=20)
    assert not last.whole
    mine = [record for record in last.records if record.partition == 0]
    assert 40 <= len(mine) < 50, "markers are offsets, and no records"
    assert mine == [record for record in every.records if record.partition == 0][-len(mine) :]
    spread = read_sample(broker, topic, rows=60, seconds=20, spread=True)
    places = [record.offset for record in spread.records if record.partition == 1]
    assert 40 <= len(places) <= 60
    assert min(places) == 0
    assert max(places) >= 190
    groups = AdminClient({"bootstrap.servers": kafka}).list_consumer_groups().result(20)
    assert [group.group_id for group in groups.valid if group.group_id.startswith(prefix)] == []
    broker.close()


def _batches(topic: str) -> Iterator[list[Message]]:
    """Twenty transactions of ten records in each of two partitions."""
    for number in range(20):
        yield [
            Message(topic, b"%d" % (number * 10 + each), None, (), where)
            for each in range(10)
            for where in (0, 1)
        ]
