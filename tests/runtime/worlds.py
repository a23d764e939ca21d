"""The two brokers as the contract suite sees them: the protocol, and the hand of fate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined] # public, though not marked as exported
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from penstock.runtime.broker import (
    Broker,
    Consumer,
    Message,
    Polled,
    Position,
    Record,
    Topic,
    TopicPartition,
    TransactionalProducer,
)
from penstock.runtime.kafka import KafkaBroker
from penstock.runtime.kafka.producers import KafkaTransactionalProducer
from penstock.runtime.memory import MemoryBroker

PATIENCE = 30.0  # seconds; a real Kafka takes up to 3 for what is not immediate


class World(Protocol):
    """A broker, and what happens to brokers."""

    @property
    def broker(self) -> Broker: ...

    def topic(self, name: str, partitions: int = 1, **config: str) -> str:
        """Create a topic of this test's own; its full name. Settings have `_` for `.`."""
        ...

    def sent(self, producer: TransactionalProducer) -> None:
        """Return when all that was sent in the open transaction is in the log."""
        ...

    def expire(self, partition: TopicPartition, before: int) -> None:
        """Retention deletes what is below an offset."""
        ...

    def compact(self, topic: str) -> None:
        """The cleaner passes over a topic of one partition and leaves the last record of each key."""
        ...


class MemoryWorld:
    def __init__(self, prefix: str) -> None:
        self.broker = MemoryBroker(now=lambda: time.time_ns() // 1_000_000)
        self._prefix = prefix

    def topic(self, name: str, partitions: int = 1, **config: str) -> str:
        return _create(self.broker, self._prefix + name, partitions, config)

    def sent(self, producer: TransactionalProducer) -> None:
        """It is."""

    def expire(self, partition: TopicPartition, before: int) -> None:
        self.broker.expire(partition, before)

    def compact(self, topic: str) -> None:
        self.broker.compact(topic)


class KafkaWorld:
    def __init__(self, prefix: str, bootstrap: str) -> None:
        self.broker = KafkaBroker(bootstrap)
        self._prefix = prefix
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def topic(self, name: str, partitions: int = 1, **config: str) -> str:
        return _create(self.broker, self._prefix + name, partitions, config)

    def sent(self, producer: TransactionalProducer) -> None:
        assert isinstance(producer, KafkaTransactionalProducer)
        deadline = time.monotonic() + PATIENCE
        while len(producer._client):
            assert time.monotonic() < deadline
            producer._serve(0.01)

    def expire(self, partition: TopicPartition, before: int) -> None:
        asked = KafkaPartition(partition.topic, partition.partition, before)
        self._admin.delete_records([asked])[asked].result(PATIENCE)

    def compact(self, topic: str) -> None:
        """The cleaner never touches the segment being written, so it is rolled (segment.ms) until it came."""
        often = ConfigEntry("log.cleaner.backoff.ms", "100", incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[often])
        self._admin.incremental_alter_configs([resource])[resource].result(PATIENCE)
        where = TopicPartition(topic, 0)
        producer = self.broker.producer()
        deadline = time.monotonic() + PATIENCE
        while self._repeated(where):
            assert time.monotonic() < deadline, "the cleaner did not come"
            assert producer.send(Message(topic, b"roll", b"roll"))
            assert producer.flush(PATIENCE) == 0
        producer.close()

    def _repeated(self, where: TopicPartition) -> bool:
        """Whether some key has more than one record; of what rolls the segments there always are some."""
        keys = [record.key for record in self._records(where) if record.key != b"roll"]
        return len(keys) > len(set(keys))

    def _records(self, where: TopicPartition) -> list[Record]:
        reader = self.broker.reader({where: 0})
        try:
            return until_ended(lambda: reader.poll(1000, 0.1), [where])
        finally:
            reader.close()


def _create(broker: Broker, name: str, partitions: int, config: dict[str, str]) -> str:
    settings = {key.replace("_", "."): value for key, value in config.items()}
    assert broker.create([Topic(name=name, partitions=partitions, config=settings)]) == [name]
    return name


# -- verbs that wait for what must come


def until(poll: Callable[[], Polled], enough: Callable[[Polled], bool], why: str) -> list[Polled]:
    """Poll until one poll brings what is awaited."""
    seen: list[Polled] = []
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        seen.append(poll())
        if enough(seen[-1]):
            return seen
    raise AssertionError(f"{why} did not happen within {PATIENCE:.0f} s")


def until_ended(poll: Callable[[], Polled], partitions: Iterable[TopicPartition]) -> list[Record]:
    """Every record up to the end of the partitions."""
    wanted = set(partitions)
    seen = until(poll, lambda polled: wanted <= polled.ended, f"the end of {sorted(wanted)}")
    return [record for polled in seen for record in polled.records]


def join(consumer: Consumer, topics: Sequence[str]) -> list[TopicPartition]:
    """Subscribe and wait for the partitions."""
    consumer.subscribe(topics)
    until(lambda: consumer.poll(100, 0.1), lambda polled: bool(polled.assigned), "an assignment")
    return sorted(consumer.assignment())


def member(world: World, topics: Sequence[str], *, group: str, slot: str = "0") -> Consumer:
    """A consumer that has its partitions and has started each from its committed offset, or the first."""
    consumer = world.broker.consumer(group=group, slot=slot)
    partitions = join(consumer, topics)
    committed = consumer.committed(partitions)
    consumer.start({p: at.offset if at else 0 for p, at in committed.items()})
    return consumer


def rest(consumer: Consumer) -> list[Record]:
    """What a member has still to read."""
    return until_ended(lambda: consumer.poll(1000, 0.1), consumer.assignment())


def contents(world: World, topic: str, partitions: int = 1) -> list[Record]:
    """Everything a reader of committed records sees of a topic."""
    wanted = [TopicPartition(topic, partition) for partition in range(partitions)]
    reader = world.broker.reader(dict.fromkeys(wanted, 0))
    try:
        return until_ended(lambda: reader.poll(1000, 0.1), wanted)
    finally:
        reader.close()


def values(records: Iterable[Record]) -> list[bytes | None]:
    return [record.value for record in records]


def write(world: World, *messages: Message) -> None:
    """Write at once, outside transactions."""
    producer = world.broker.producer()
    for message in messages:
        assert producer.send(message)
    assert producer.flush(PATIENCE) == 0
    assert producer.failed() == 0
    producer.close()


def process(world: World, transactional_id: str, consumer: Consumer, to: str, metadata: str = "") -> int:
    """Copy what a member has still to read to another topic, in one transaction; how many records."""
    records = rest(consumer)
    producer = world.broker.transactional(transactional_id)
    producer.begin()
    producer.send([Message(to, record.value, record.key) for record in records])
    offsets = {
        TopicPartition(record.topic, record.partition): Position(record.offset + 1, metadata)
        for record in records
    }
    producer.send_offsets(consumer, offsets)
    producer.commit()
    producer.close()
    return len(records)
