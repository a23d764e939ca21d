"""What only Kafka does to its clients, and what that tells the loop."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from confluent_kafka import KafkaException

from penstock.runtime.broker import Message, Position, TopicPartition
from penstock.runtime.errors import Fenced, Unavailable
from penstock.runtime.kafka import KafkaBroker, producers
from penstock.runtime.memory import MemoryBroker
from tests.runtime.worlds import KafkaWorld, contents, member, until, values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from penstock.runtime.broker import TransactionalProducer

pytestmark = pytest.mark.kafka


@pytest.fixture
def world(kafka: str, prefix: str) -> Iterator[KafkaWorld]:
    world = KafkaWorld(prefix, kafka)
    yield world
    world.broker.close()


def send_more(world: KafkaWorld, producer: TransactionalProducer, topic: str) -> None:
    for _ in range(100):  # the refusal comes back with a later call
        producer.send([Message(topic, b"more")])
        world.sent(producer)


def test_a_transaction_that_got_too_old_is_no_fence(
    world: KafkaWorld, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The coordinator aborts it with a newer epoch, as a successor would: its age tells the two apart."""
    monkeypatch.setattr(producers, "TRANSACTION_SECONDS", 1.0)
    monkeypatch.setitem(producers._WRITING, "message.timeout.ms", 1000)
    topic = world.topic("topic", 2)
    consumer = member(world, [topic], group=prefix + "g")
    steps: list[Callable[[TransactionalProducer], None]] = [
        lambda producer: producer.commit(),
        lambda producer: producer.send_offsets(consumer, {TopicPartition(topic, 0): Position(0)}),
        lambda producer: send_more(world, producer, topic),
    ]
    stalled = [world.broker.transactional(f"{prefix}{number}") for number in range(len(steps))]
    for producer in stalled:
        producer.begin()
        producer.send([Message(topic, b"too old", partition=0)])
        world.sent(producer)

    # The coordinator looks every 10 s.
    where = TopicPartition(topic, 0)
    reader = world.broker.reader({where: 0})
    until(lambda: reader.poll(1, 0.5), lambda _: world.broker.ends([where])[where] == (0, 6), "the abort")

    for step, producer in zip(steps, stalled, strict=True):
        with pytest.raises(Unavailable, match=r"^[a-z ]+: the transaction of [^\n]+ was open for \d+ s$"):
            step(producer)
        producer.close()
    assert contents(world, topic, 2) == []
    reader.close()
    consumer.close()


def test_a_zombie_is_fenced_while_it_writes(world: KafkaWorld, prefix: str) -> None:
    topic = world.topic("topic")
    zombie = world.broker.transactional(prefix + "p")
    zombie.begin()
    zombie.send([Message(topic, b"zombie")])
    world.sent(zombie)
    successor = world.broker.transactional(prefix + "p")

    with pytest.raises(Fenced):
        send_more(world, zombie, topic)

    zombie.close()
    successor.begin()
    successor.send([Message(topic, b"successor")])
    successor.commit()
    assert values(contents(world, topic)) == [b"successor"]
    successor.close()


def test_mistakes_of_ours_end_the_process(world: KafkaWorld, prefix: str) -> None:
    """Neither `Aborted` nor `Unavailable`: another try would fail in the same way."""
    topic = world.topic("topic")
    consumer = member(world, [topic], group=prefix + "g")
    where = TopicPartition(topic, 0)
    producer = world.broker.transactional(prefix + "p")
    producer.begin()

    with pytest.raises(KafkaException, match="MSG_SIZE_TOO_LARGE"):
        producer.send([Message(topic, b"x" * 2_000_000)])
    with pytest.raises(KafkaException, match="MSG_SIZE_TOO_LARGE"):
        producer.send([Message(topic, b"x" * size) for size in (1, 2, 2_000_000, 3, 4)])
    with pytest.raises(ValueError, match=r"more than 4095 characters to remember: .*topic"):
        producer.send_offsets(consumer, {where: Position(0, "m" * 4096)})
    stranger = MemoryBroker(now=lambda: 0).consumer(group="g", slot="0")
    with pytest.raises(TypeError, match="a Kafka transaction commits for a Kafka consumer"):
        producer.send_offsets(stranger, {where: Position(0)})
    with pytest.raises(ValueError, match="not assigned, so they cannot be started"):
        consumer.start({TopicPartition(topic, 1): 0})
    consumer.close()
    producer.close()


def test_a_topic_that_is_not_there_is_waited_for(world: KafkaWorld, prefix: str) -> None:
    consumer = world.broker.consumer(group=prefix + "g", slot="0")
    consumer.subscribe([prefix + "absent"])

    with pytest.raises(Unavailable, match=r"^\S+absent cannot be read: [^\n]*$"):
        until(lambda: consumer.poll(1, 0.1), lambda _: False, "the refusal")

    consumer.close()


def test_a_log_that_lost_its_end_is_not_read_on(world: KafkaWorld) -> None:
    """An offset beyond the end is no gap of retention's: the topic was truncated, or made anew."""
    topic = world.topic("topic")
    reader = world.broker.reader({TopicPartition(topic, 0): 100})

    with pytest.raises(RuntimeError, match=r"topic/0 has lost its end: no offset 100$"):
        until(lambda: reader.poll(1, 0.1), lambda _: False, "the refusal")

    reader.close()


def test_clients_that_were_closed_leave_nothing_running(world: KafkaWorld, prefix: str) -> None:
    """Services build their clients anew for as long as a broker is away: each has several threads."""
    topic = world.topic("topic")
    process = psutil.Process()
    before = process.num_threads()

    gc.disable()  # nobody collects cycles in time
    try:
        for number in range(3):
            producer = world.broker.transactional(f"{prefix}{number}")
            producer.begin()
            producer.send([Message(topic, b"x")])
            producer.close()
            consumer = member(world, [topic], group=prefix + "g")
            consumer.close()
            plain = world.broker.producer()
            plain.close()
            del producer, consumer, plain
        deadline = time.monotonic() + 10
        while process.num_threads() > before:
            assert time.monotonic() < deadline, f"{process.num_threads() - before} threads too many"
    finally:
        gc.enable()


def test_properties_of_the_operator_reach_the_clients(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.runtime.kafka.cluster.ANSWER_SECONDS", 1.0)
    broker = KafkaBroker(kafka, {"security.protocol": "SSL"})

    with pytest.raises(Unavailable):
        broker.topics()
