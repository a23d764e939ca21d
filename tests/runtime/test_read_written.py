"""A task that takes over reads what its forerunner wrote, to the end of its last transaction."""

from __future__ import annotations

from penstock.runtime.broker import Message, Topic, TopicPartition
from penstock.runtime.fold import read_written
from penstock.runtime.memory import MemoryBroker


def test_it_waits_until_the_last_transaction_has_ended() -> None:
    broker = MemoryBroker(now=lambda: 0)
    broker.create([Topic(name="outcomes", partitions=1)])
    broker.append(Message("outcomes", b"before", partition=0))
    forerunner = broker.transactional("join-0")
    forerunner.begin()
    forerunner.send([Message("outcomes", b"last", partition=0)])

    reading = read_written(broker, [TopicPartition("outcomes", 0)])
    assert [next(reading) for _ in range(3)] == [[], [], []]
    forerunner.commit()
    assert [record.value for records in reading for record in records] == [b"before", b"last"]
