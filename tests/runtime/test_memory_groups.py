"""What the contract suite cannot ask of a real Kafka without waiting for its sessions to run out."""

from __future__ import annotations

import pytest

from penstock.runtime.broker import Aborted, Message, Polled, Position, Topic, TopicPartition
from penstock.runtime.memory import MemoryBroker
from penstock.runtime.memory.clients import MemoryConsumer

TOPICS = ("left", "right")
EVERYTHING = frozenset(TopicPartition(topic, number) for topic in TOPICS for number in range(3))


@pytest.fixture
def broker() -> MemoryBroker:
    broker = MemoryBroker(now=lambda: 0)
    broker.create([Topic(name=topic, partitions=3) for topic in TOPICS])
    return broker


def member(broker: MemoryBroker, slot: str) -> MemoryConsumer:
    consumer = broker.consumer(group="g", slot=slot)
    consumer.subscribe(TOPICS)
    return consumer


def settle(*members: MemoryConsumer) -> list[list[Polled]]:
    """What each is told until nobody is told anything."""
    told: list[list[Polled]] = [[] for _ in members]
    for _ in range(4):
        for mine, consumer in zip(told, members, strict=True):
            polled = consumer.poll(10, 0)
            if polled.assigned or polled.revoked:
                mine.append(polled)
    return told


def numbers(consumer: MemoryConsumer) -> list[int]:
    return sorted(where.partition for where in consumer.assignment() if where.topic == "left")


def test_nobody_gets_a_partition_that_another_has_not_given_up(broker: MemoryBroker) -> None:
    first = member(broker, "0")
    settle(first)
    second = member(broker, "1")
    assert second.poll(10, 0) == Polled(), "it waits"
    assert first.behind
    assert first.poll(10, 0).revoked == EVERYTHING
    assert second.poll(10, 0).assigned
    assert (numbers(first), numbers(second)) == ([0, 1], [2])


def test_a_third_waits_until_both_others_have_come(broker: MemoryBroker) -> None:
    first, second = member(broker, "0"), member(broker, "1")
    settle(first, second)
    third = member(broker, "2")
    third.poll(10, 0)
    assert first.poll(10, 0).revoked
    assert not first.behind, "it has done what it can"
    assert first.poll(10, 0) == Polled()
    settle(second, third, first)
    assert [numbers(each) for each in (first, second, third)] == [[0], [1], [2]]


def test_a_newer_process_in_a_slot_takes_over_without_a_rebalance(broker: MemoryBroker) -> None:
    first, second = member(broker, "0"), member(broker, "1")
    settle(first, second)
    newer = member(broker, "1")
    [told], others = settle(newer, first)
    assert told.assigned == second.assignment()
    assert others == []


def test_a_closed_member_keeps_its_place_until_it_is_given_up(broker: MemoryBroker) -> None:
    first, second = member(broker, "0"), member(broker, "1")
    settle(first, second)
    second.close()
    assert settle(first) == [[]]
    broker.lapse("g", "1")
    settle(first)
    assert numbers(first) == [0, 1, 2]


def test_who_was_given_up_commits_nothing_and_comes_back_as_a_new_member(broker: MemoryBroker) -> None:
    first, second = member(broker, "0"), member(broker, "1")
    settle(first, second)
    producer = broker.transactional("p")
    producer.begin()
    producer.send([Message("left", b"twice", partition=0)])
    broker.lapse("g", "1")
    settle(first)
    with pytest.raises(Aborted, match="left behind"):
        producer.send_offsets(second, {TopicPartition("left", 2): Position(1)})
    producer.abort()
    assert broker.records("left") == []
    assert second.poll(10, 0).revoked == {TopicPartition(topic, 2) for topic in TOPICS}
    settle(first, second)
    assert (numbers(first), numbers(second)) == ([0, 1], [2])


def test_a_member_without_a_partition_has_nothing_to_read(broker: MemoryBroker) -> None:
    members = [member(broker, str(number)) for number in range(4)]
    settle(*members)
    assert [numbers(each) for each in members] == [[0], [1], [2], []]
    assert not members[-1].behind
