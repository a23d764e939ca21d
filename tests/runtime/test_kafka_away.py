"""Kafka goes away and comes back: said clearly, survived exactly, and nothing spills on stderr."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from penstock.broker import EmbeddedKafka
from penstock.broker.ports import free_port
from penstock.runtime.broker import Aborted, Message, Position, TopicPartition
from penstock.runtime.errors import Unavailable
from penstock.runtime.kafka import KafkaBroker
from tests.runtime.worlds import KafkaWorld, contents, member, rest, until, values, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock.runtime.broker import Consumer, TransactionalProducer

pytestmark = pytest.mark.kafka

KILLS = 10 if os.environ.get("PENSTOCK_PROVE") else 2


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A Kafka that may be killed."""
    with EmbeddedKafka(tmp_path_factory.mktemp("away")) as embedded:
        yield embedded


@pytest.fixture
def world(embedded: EmbeddedKafka, prefix: str) -> Iterator[KafkaWorld]:
    embedded.start()
    world = KafkaWorld(prefix, embedded.bootstrap)
    yield world
    world.broker.close()


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker counts as away after 2 s, not 10: here it is."""
    for module in ("clients", "cluster", "producers"):
        monkeypatch.setattr(f"penstock.runtime.kafka.{module}.ANSWER_SECONDS", 2.0)


@pytest.mark.usefixtures("_impatient")
def test_no_broker_at_all_is_one_clear_line(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "penstock.kafka")
    address = f"127.0.0.1:{free_port()}"
    broker = KafkaBroker(address)
    where = TopicPartition("t", 0)

    with pytest.raises(Unavailable, match=rf"^no broker answers at {address}: [^\n]*$"):
        broker.topics()
    with pytest.raises(Unavailable, match=r"^taking over in a transaction of t: [^\n]*$"):
        broker.transactional("t")
    reader = broker.reader({where: 0})
    with pytest.raises(Unavailable, match=rf"^no broker answers at {address}: [^\n]*$"):
        until(lambda: reader.poll(1, 0.1), lambda _: False, "noticing that nobody is there")
    reader.close()
    broker.close()

    assert capfd.readouterr() == ("", "")
    assert {record.levelname for record in caplog.records if record.name == "penstock.kafka"} == {"DEBUG"}


@pytest.mark.usefixtures("_impatient")
def test_a_member_notices_and_its_successor_goes_on(
    embedded: EmbeddedKafka, world: KafkaWorld, prefix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    source, to = world.topic("source"), world.topic("to")
    write(world, *(Message(source, b"%d" % i) for i in range(5)))
    consumer = member(world, [source], group=prefix + "g")
    records = rest(consumer)
    producer = world.broker.transactional(prefix + "p")
    producer.begin()
    producer.send([Message(to, record.value) for record in records])
    producer.send_offsets(consumer, {TopicPartition(source, 0): Position(5)})
    producer.commit()
    producer.begin()
    producer.send([Message(to, b"never")])
    world.sent(producer)

    embedded.kill()
    with pytest.raises(Unavailable):
        until(lambda: consumer.poll(10, 0.1), lambda _: False, "noticing that the broker is away")
    started = time.monotonic()
    consumer.close()
    producer.close()
    assert time.monotonic() - started < 15
    embedded.start()

    write(world, Message(source, b"5"))
    successor = member(world, [source], group=prefix + "g")
    world.broker.transactional(prefix + "p").close()
    assert values(rest(successor)) == [b"5"]
    assert values(contents(world, to)) == [b"0", b"1", b"2", b"3", b"4"]
    successor.close()
    assert capfd.readouterr() == ("", "")


class Copier(threading.Thread):
    """A service in small: copies exactly once; on trouble it lets go of every client, and begins again."""

    def __init__(self, world: KafkaWorld, prefix: str, count: int) -> None:
        super().__init__()
        self.source, self.to = world.topic("source"), world.topic("to")
        self.copied = 0
        self._world, self._prefix, self._count = world, prefix, count

    def run(self) -> None:
        while self.copied < self._count:
            with contextlib.suppress(Unavailable, Aborted), contextlib.ExitStack() as clients:
                producer = self._world.broker.transactional(self._prefix + "p")
                clients.callback(producer.close)
                consumer = member(self._world, [self.source], group=self._prefix + "g")
                clients.callback(consumer.close)
                self._copy(producer, consumer)

    def _copy(self, producer: TransactionalProducer, consumer: Consumer) -> None:
        while self.copied < self._count:
            polled = consumer.poll(50, 0.05)
            if polled.assigned or polled.revoked:
                return
            if polled.records:
                producer.begin()
                producer.send([Message(self.to, record.value) for record in polled.records])
                at = Position(polled.records[-1].offset + 1)
                producer.send_offsets(consumer, {TopicPartition(self.source, 0): at})
                producer.commit()
                self.copied = at.offset


def test_what_is_copied_while_the_broker_is_killed_is_exact(
    embedded: EmbeddedKafka, world: KafkaWorld, prefix: str
) -> None:
    count = 5000 * KILLS
    copier = Copier(world, prefix, count)
    write(world, *(Message(copier.source, b"%d" % i) for i in range(count)))

    copier.start()
    for kill in range(KILLS):
        while copier.copied < 5000 * kill + 1000:
            assert copier.is_alive()
            time.sleep(0.001)
        embedded.kill()
        embedded.start()
    copier.join(120)

    assert not copier.is_alive()
    assert values(contents(world, copier.to)) == [b"%d" % i for i in range(count)]


def test_a_producer_outside_transactions_never_waits_and_counts_what_is_lost(
    embedded: EmbeddedKafka, world: KafkaWorld
) -> None:
    topic = world.topic("topic")
    write(world, Message(topic, b"before"))
    producer = world.broker.producer()
    embedded.kill()

    started = time.monotonic()
    taken = 0
    while producer.send(Message(topic, b"%d" % taken)):
        taken += 1
    assert time.monotonic() - started < 5
    assert 1000 < taken <= producer.waiting() + producer.failed()
    assert producer.flush(0.1) > 0

    embedded.start()
    while producer.flush(10.0):
        pass
    written = [value for value in values(contents(world, topic)) if value != b"before"]
    assert len(written) == len(set(written)) == taken - producer.failed()
    producer.close()
