"""What both brokers promise, in the order of `penstock.runtime.broker`.

What the broker in memory cannot do is a strict xfail with its reason.
"""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from penstock.kernel.errors import Invalid
from penstock.kernel.hashing import partition_of
from penstock.runtime.broker import Aborted, Gap, Message, Polled, Position, Topic, TopicPartition
from penstock.runtime.errors import Fenced
from penstock.runtime.records import Alike, column, ends, pick
from tests.runtime.worlds import (
    KafkaWorld,
    MemoryWorld,
    World,
    contents,
    join,
    member,
    process,
    rest,
    until,
    until_ended,
    values,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock.runtime.broker import Consumer

BROKERS = ("memory", pytest.param("kafka", marks=pytest.mark.kafka))


@pytest.fixture(params=BROKERS)
def world(request: pytest.FixtureRequest, prefix: str) -> Iterator[World]:
    if request.param == "memory":
        yield MemoryWorld(prefix)
    else:
        kafka = KafkaWorld(prefix, request.getfixturevalue("kafka"))
        yield kafka
        kafka.broker.close()


def not_in_memory(request: pytest.FixtureRequest, world: World, reason: str) -> None:
    if isinstance(world, MemoryWorld):
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))


def names(world: World, topic: str, partitions: int = 1) -> list[bytes | None]:
    return values(contents(world, topic, partitions))


# -- topics


def test_creating_topics_creates_what_is_missing(world: World) -> None:
    kept = world.topic("kept", 3, cleanup_policy="compact")

    created = world.broker.create(
        [
            Topic(name=kept, partitions=9),
            Topic(name=kept + ".new", partitions=2, config={"segment.ms": "3600000"}),
        ]
    )

    assert created == [kept + ".new"]
    topics = world.broker.topics()
    assert (topics[kept], topics[kept + ".new"]) == (3, 2)
    assert world.broker.config(kept) == {"cleanup.policy": "compact"}
    assert world.broker.config(kept + ".new") == {"segment.ms": "3600000"}


def test_a_topic_that_kafka_refuses_is_invalid(request: pytest.FixtureRequest, world: World) -> None:
    not_in_memory(request, world, "it takes any name")
    there = world.topic("a.b", 1)
    with pytest.raises(Invalid, match=r"cannot be created: .*collides"):
        world.broker.create([Topic(name=there.removesuffix("a.b") + "a_b", partitions=1)])


def test_cluster_and_topics_have_ids(world: World) -> None:
    one, other = world.topic("one"), world.topic("other")

    ids = world.broker.topic_ids([one, other])

    assert ids == world.broker.topic_ids([other, one])
    assert ids[one] != ids[other]
    assert world.broker.cluster_id() == world.broker.cluster_id() != ""


# -- records


def test_a_record_comes_back_as_it_was_sent(world: World) -> None:
    topic = world.topic("records", message_timestamp_type="LogAppendTime")
    headers = (("traceparent", b"00-1"), ("again", b"1"), ("again", b"2"), ("empty", b""))
    before = time.time_ns() // 1_000_000

    write(
        world,
        Message(topic, b"value", b"key", headers),
        Message(topic, None, b"tombstone"),
        Message(topic, b"", b""),
        Message(topic, "żółw ŷ".encode(), "ключ".encode()),
    )

    after = time.time_ns() // 1_000_000
    first, *others = contents(world, topic)
    assert (first.topic, first.partition, first.offset) == (topic, 0, 0)
    assert (first.key, first.value, first.headers) == (b"key", b"value", headers)
    assert [(r.offset, r.key, r.value, r.headers) for r in others] == [
        (1, b"tombstone", None, ()),
        (2, b"", b"", ()),
        (3, "ключ".encode(), "żółw ŷ".encode(), ()),
    ]
    assert all(before <= record.timestamp <= after for record in (first, *others))


def test_a_record_without_a_key_has_none(world: World) -> None:
    topic = world.topic("keyless")

    write(world, Message(topic, b"value"))

    assert [(record.key, record.value) for record in contents(world, topic)] == [(None, b"value")]


def test_a_large_record_passes(world: World) -> None:
    """An artifact's chunk is at most 512 KiB; this is near the limit of a topic."""
    topic = world.topic("large")
    large = uuid.uuid5(uuid.NAMESPACE_OID, "large").bytes * 62_500  # a million bytes

    producer = world.broker.transactional(topic)
    producer.begin()
    producer.send([Message(topic, large, b"key")])
    producer.commit()

    assert names(world, topic) == [large]


def test_keys_are_spread_as_the_kernel_says(world: World) -> None:
    topic = world.topic("keys", 7)
    keys = [f"UA{number}-EWR-ż".encode()[: number % 17 + 1] for number in range(300)]

    write(world, *(Message(topic, None, key) for key in keys))

    found = {record.key: record.partition for record in contents(world, topic, 7)}
    assert found == {key: partition_of(key, 7) for key in keys}
    assert set(found.values()) == set(range(7))


def test_an_explicit_partition_wins_over_the_key(world: World) -> None:
    topic = world.topic("explicit", 4)

    write(world, *(Message(topic, b"%d" % partition, b"same", (), partition) for partition in range(4)))

    assert sorted((r.partition, r.value) for r in contents(world, topic, 4)) == [
        (partition, b"%d" % partition) for partition in range(4)
    ]


def test_order_is_kept_within_a_partition(world: World) -> None:
    topic = world.topic("order", 2)
    producer = world.broker.transactional(topic)

    for batch in range(4):
        producer.begin()
        producer.send(Message(topic, b"%d" % (batch * 500 + i), partition=i % 2) for i in range(500))
        producer.commit()

    records = contents(world, topic, 2)
    for partition in range(2):
        numbers = [int(record.value or b"") for record in records if record.partition == partition]
        assert numbers == list(range(partition, 2000, 2))


def test_order_is_kept_however_many_are_sent_and_whatever_goes_with_them(world: World) -> None:
    topic = world.topic("mixed")
    sent = [
        Message(topic, b"%d" % number, b"key", (("traceparent", b"00-1"),) if number // 700 % 2 else ())
        for number in range(5000)
    ]

    producer = world.broker.transactional(topic)
    producer.begin()
    producer.send([*sent, Message(topic, None, b"key"), Message(topic, b"last", None, (), 0)])
    producer.commit()

    *records, gone, last = contents(world, topic)
    assert [(record.value, record.headers) for record in records] == [(m.value, m.headers) for m in sent]
    assert (gone.key, gone.value, last.key, last.value) == (b"key", None, None, b"last")
    producer.close()


def test_messages_that_are_alike_are_sent_as_any(world: World) -> None:
    topic, split = world.topic("alike"), world.topic("split", 3)
    keys, rows = [b"k%d" % number for number in range(1500)], [b"v%d" % number for number in range(1500)]
    producer = world.broker.transactional(topic)

    producer.begin()
    producer.send(Alike(topic, keys, rows))
    producer.send(Alike(topic, [None, b"gone"], [b"", None]))
    producer.send(Alike(split, keys[:9], rows[:9], 2))
    producer.send(Alike(topic, [], []))
    producer.commit()

    *records, empty, gone = contents(world, topic)
    assert [(record.key, record.value) for record in records] == list(zip(keys, rows, strict=True))
    assert (empty.key, empty.value, gone.key, gone.value) == (None, b"", b"gone", None)
    assert [(record.partition, record.value) for record in contents(world, split, 3)] == [
        (2, row) for row in rows[:9]
    ]
    producer.close()


def test_a_poll_can_be_looked_at_by_parts(world: World) -> None:
    topic = world.topic("parts", 2)
    headers = (("traceparent", b"00-1"),)
    write(world, *(Message(topic, b"%d" % at, b"k", headers if at % 3 else (), at % 2) for at in range(7)))
    reader = world.broker.reader({TopicPartition(topic, each): 0 for each in range(2)})
    polls = until(lambda: reader.poll(1000, 0.1), lambda polled: len(polled.ended) == 2, "the end")

    for polled in polls:
        records = polled.records
        assert column(records, "offset") == [record.offset for record in records]
        assert ends(records) == {
            TopicPartition(record.topic, record.partition): record.offset + 1 for record in records
        }
        places = list(range(0, len(records), 2))
        picked = pick(records, places)
        assert column(picked, "value") == [records[place].value for place in places]
        assert column(picked, "headers") == [records[place].headers for place in places]
        assert list(pick(records, list(range(len(records))))) == list(records)
        assert [*records[1:]] == [*records][1:]
    assert sorted(value for polled in polls for value in column(polled.records, "value")) == [
        b"%d" % at for at in range(7)
    ]
    reader.close()


# -- transactions


def test_outputs_and_offsets_are_committed_together(world: World, prefix: str) -> None:
    source, one, two = world.topic("source"), world.topic("one"), world.topic("two", 2)
    write(world, Message(source, b"a"), Message(source, b"b"))
    consumer = member(world, [source], group=prefix + "g")
    assert values(rest(consumer)) == [b"a", b"b"]
    where = TopicPartition(source, 0)
    producer = world.broker.transactional(prefix + "p")

    producer.begin()
    producer.send([Message(one, b"1"), Message(two, b"2", partition=0), Message(two, b"3", partition=1)])
    assert (names(world, one), names(world, two, 2)) == ([], [])
    producer.send_offsets(consumer, {where: Position(2, "watermark=17; rows=2")})
    producer.commit()

    assert names(world, one) == [b"1"]
    assert sorted(names(world, two, 2), key=str) == [b"2", b"3"]
    assert consumer.committed([where]) == {where: Position(2, "watermark=17; rows=2")}
    consumer.close()
    producer.close()


def test_an_abort_leaves_nothing(world: World, prefix: str) -> None:
    source, to = world.topic("source"), world.topic("to")
    write(world, Message(source, b"a"))
    consumer = member(world, [source], group=prefix + "g")
    where = TopicPartition(source, 0)
    producer = world.broker.transactional(prefix + "p")

    producer.begin()
    producer.send([Message(to, b"aborted")])
    world.sent(producer)
    producer.send_offsets(consumer, {where: Position(1, "aborted")})
    producer.abort()

    assert names(world, to) == []
    assert consumer.committed([where]) == {where: None}
    producer.begin()
    producer.send([Message(to, b"committed")])
    producer.commit()
    assert names(world, to) == [b"committed"]
    consumer.close()
    producer.close()


def test_an_abort_without_a_transaction_does_nothing(world: World, prefix: str) -> None:
    to = world.topic("to")
    producer = world.broker.transactional(prefix + "p")

    producer.abort()
    producer.begin()
    producer.send([Message(to, b"1")])
    producer.commit()
    producer.abort()

    assert names(world, to) == [b"1"]
    producer.close()


def test_readers_stop_at_an_open_transaction(world: World, prefix: str) -> None:
    """Even records written later, and outside transactions, wait: the last stable offset does not pass it."""
    topic = world.topic("topic")
    where = TopicPartition(topic, 0)
    producer = world.broker.transactional(prefix + "p")
    write(world, Message(topic, b"before"))
    producer.begin()
    producer.send([Message(topic, b"inside")])
    world.sent(producer)
    write(world, Message(topic, b"outside"))
    reader = world.broker.reader({where: 0})

    assert values(until_ended(lambda: reader.poll(10, 0.1), [where])) == [b"before"]
    assert world.broker.ends([where]) == {where: (0, 1)}
    assert world.broker.unsettled([where]) == {where}
    producer.commit()
    assert values(until_ended(lambda: reader.poll(10, 0.1), [where])) == [b"inside", b"outside"]
    assert world.broker.unsettled([where]) == frozenset()
    assert world.broker.ends([where]) == {where: (0, 4)}  # one offset is the marker's
    reader.close()
    producer.close()


def test_the_end_is_found_behind_markers(world: World, prefix: str) -> None:
    """Markers and aborted records take offsets: the end is not the last record's offset + 1."""
    topic = world.topic("topic", 2)
    both = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
    producer = world.broker.transactional(prefix + "p")
    for outcome in (producer.commit, producer.abort, producer.commit, producer.abort):
        producer.begin()
        producer.send([Message(topic, b"x", partition=0)])
        world.sent(producer)
        outcome()
    reader = world.broker.reader(dict.fromkeys(both, 0))

    records = until_ended(lambda: reader.poll(10, 0.1), both)

    assert [record.offset for record in records] == [0, 4]
    assert world.broker.ends(both) == {both[0]: (0, 8), both[1]: (0, 0)}
    producer.begin()
    producer.send([Message(topic, b"more", partition=1)])
    producer.commit()
    news = until(lambda: reader.poll(10, 0.1), lambda polled: bool(polled.records), "a new record")
    assert values(news[-1].records) == [b"more"]
    until_ended(lambda: reader.poll(10, 0.1), both)
    reader.close()
    producer.close()


def test_a_newer_producer_fences_the_zombie_and_aborts_what_it_left(world: World, prefix: str) -> None:
    topic = world.topic("topic")
    zombie = world.broker.transactional(prefix + "p")
    zombie.begin()
    zombie.send([Message(topic, b"zombie")])
    world.sent(zombie)

    successor = world.broker.transactional(prefix + "p")
    successor.begin()
    successor.send([Message(topic, b"successor")])
    successor.commit()

    with pytest.raises(Fenced):
        zombie.commit()
    with pytest.raises(Fenced):
        zombie.begin()
    assert names(world, topic) == [b"successor"]
    successor.close()
    zombie.close()


def test_a_fenced_member_cannot_commit(world: World, prefix: str) -> None:
    source, to = world.topic("source"), world.topic("to")
    write(world, Message(source, b"a"))
    former = member(world, [source], group=prefix + "g")
    assert values(rest(former)) == [b"a"]
    producer = world.broker.transactional(prefix + "former")
    newer = member(world, [source], group=prefix + "g")

    producer.begin()
    producer.send([Message(to, b"twice")])
    world.sent(producer)
    with pytest.raises(Aborted):
        producer.send_offsets(former, {TopicPartition(source, 0): Position(1)})

    assert names(world, to) == []
    assert values(rest(newer)) == [b"a"]
    producer.begin()
    producer.abort()
    for client in (former, newer, producer):
        client.close()


# -- groups


def test_nothing_is_delivered_before_start(world: World, prefix: str) -> None:
    topic = world.topic("topic", 2)
    write(world, *(Message(topic, b"%d" % p, partition=p) for p in range(2)))
    consumer = world.broker.consumer(group=prefix + "g", slot="0")
    zero, one = join(consumer, [topic])

    assert consumer.poll(10, 0.3) == Polled([], frozenset())
    assert consumer.committed([zero, one]) == {zero: None, one: None}
    consumer.start({one: 0})
    assert values(until_ended(lambda: consumer.poll(10, 0.1), [one])) == [b"1"]
    consumer.start({zero: 0})
    assert values(rest(consumer)) == [b"0"]
    consumer.close()


def test_a_restarted_member_goes_on_where_its_group_was(world: World, prefix: str) -> None:
    source, to = world.topic("source", 3), world.topic("to")
    write(world, *(Message(source, b"%d" % i, b"%d" % i) for i in range(20)))
    first = member(world, [source], group=prefix + "g")
    assert process(world, prefix + "p", first, to, metadata="rows=20") == 20
    first.close()
    write(world, *(Message(source, b"%d" % i, b"%d" % i) for i in range(20, 30)))

    second = member(world, [source], group=prefix + "g")

    assert {at.metadata for at in second.committed(second.assignment()).values() if at} == {"rows=20"}
    assert process(world, prefix + "p", second, to) == 10
    assert sorted(int(value or b"") for value in names(world, to)) == list(range(30))
    second.close()


def test_groups_do_not_know_of_each_other(world: World, prefix: str) -> None:
    source, to = world.topic("source"), world.topic("to")
    write(world, Message(source, b"a"))
    one = member(world, [source], group=prefix + "one")
    assert process(world, prefix + "p", one, to) == 1

    other = member(world, [source], group=prefix + "other")

    assert values(rest(other)) == [b"a"]
    one.close()
    other.close()


def test_start_goes_back_and_forth(world: World, prefix: str) -> None:
    """As after an abort: from the offset named, whatever was delivered or fetched ahead."""
    topic = world.topic("topic", 2)
    write(world, *(Message(topic, b"%d" % i, partition=i % 2) for i in range(4000)))
    consumer = member(world, [topic], group=prefix + "g")
    zero, one = sorted(consumer.assignment())
    until(lambda: consumer.poll(100, 0.1), lambda polled: bool(polled.records), "a first record")

    for offset in (0, 1999, 7, 1500, 0):
        consumer.start({zero: offset, one: 2000})
        records = rest(consumer)
        assert [record.offset for record in records] == list(range(offset, 2000))
        assert {record.partition for record in records} == {0}
    consumer.close()


def test_a_start_of_one_partition_leaves_the_others(world: World, prefix: str) -> None:
    topic = world.topic("topic", 2)
    write(world, *(Message(topic, b"%d" % i, partition=i % 2) for i in range(4000)))
    consumer = member(world, [topic], group=prefix + "g")
    zero, _ = sorted(consumer.assignment())
    seen: list[int] = []
    for _ in range(3):
        seen += [r.offset for r in consumer.poll(3000, 0.5).records if r.partition == 1]
        consumer.start({zero: 0})

    seen += [record.offset for record in rest(consumer) if record.partition == 1]

    assert seen == list(range(2000))
    consumer.close()


def test_a_paused_partition_waits_and_loses_nothing(world: World, prefix: str) -> None:
    topic = world.topic("topic", 2)
    write(world, *(Message(topic, b"%d" % i, partition=i % 2) for i in range(4000)))
    consumer = member(world, [topic], group=prefix + "g")
    zero, one = sorted(consumer.assignment())
    before = consumer.poll(100, 1.0).records

    consumer.pause([zero])
    meanwhile = until_ended(lambda: consumer.poll(700, 0.1), [one])
    assert {record.partition for record in meanwhile} <= {1}
    consumer.resume([zero])
    after = rest(consumer)

    for partition in range(2):
        offsets = [r.offset for r in [*before, *meanwhile, *after] if r.partition == partition]
        assert offsets == list(range(2000))
    consumer.close()


def test_pausing_before_anything_came_keeps_the_place(world: World, prefix: str) -> None:
    topic = world.topic("topic")
    write(world, *(Message(topic, b"%d" % i) for i in range(10)))
    consumer = world.broker.consumer(group=prefix + "g", slot="0")
    [where] = join(consumer, [topic])

    consumer.start({where: 4})
    consumer.pause([where])
    assert consumer.poll(10, 0.2).records == []
    consumer.resume([where])

    assert values(rest(consumer)) == [b"%d" % i for i in range(4, 10)]
    consumer.close()


def test_a_subscription_may_grow(world: World, prefix: str) -> None:
    one, two = world.topic("one"), world.topic("two")
    write(world, Message(one, b"1"), Message(two, b"2"))
    consumer = member(world, [one], group=prefix + "g")
    assert values(rest(consumer)) == [b"1"]

    consumer.subscribe([one, two])
    changed = until(lambda: consumer.poll(10, 0.1), lambda polled: bool(polled.assigned), "a new assignment")

    everything = {TopicPartition(one, 0), TopicPartition(two, 0)}
    assert frozenset().union(*(polled.revoked for polled in changed)) == {TopicPartition(one, 0)}
    assert changed[-1].assigned == consumer.assignment() == everything
    consumer.start(dict.fromkeys(everything, 0))
    assert sorted(values(rest(consumer)), key=str) == [b"1", b"2"]
    consumer.close()


def test_members_share_partitions_and_keep_equal_numbers_together(world: World, prefix: str) -> None:
    left, right = world.topic("left", 4), world.topic("right", 4)
    first = world.broker.consumer(group=prefix + "g", slot="0")
    everything = set(join(first, [left, right]))

    second = world.broker.consumer(group=prefix + "g", slot="1")
    second.subscribe([left, right])
    revoked: set[TopicPartition] = set()

    def settled(polled: Polled) -> bool:
        revoked.update(polled.revoked)
        second.poll(10, 0.05)
        return len(first.assignment()) == len(second.assignment()) == 4

    until(lambda: first.poll(10, 0.05), settled, "a fair share")

    assert revoked == everything
    assert first.assignment() | second.assignment() == everything
    for consumer in (first, second):
        numbers = [
            {p.partition for p in consumer.assignment() if p.topic == topic} for topic in (left, right)
        ]
        assert numbers[0] == numbers[1]
        assert len(numbers[0]) == 2
        consumer.close()


def test_a_newer_process_in_a_slot_fences_the_older(world: World, prefix: str) -> None:
    """Static membership: it takes the partitions over at once, without a rebalance of the others."""
    topic = world.topic("topic", 2)
    older = member(world, [topic], group=prefix + "g", slot="7")

    newer = member(world, [topic], group=prefix + "g", slot="7")

    assert newer.assignment() == {TopicPartition(topic, 0), TopicPartition(topic, 1)}
    with pytest.raises(Fenced):
        until(lambda: older.poll(10, 0.1), lambda _: False, "being fenced")
    write(world, Message(topic, b"for the newer"))
    assert values(rest(newer)) == [b"for the newer"]
    older.close()
    newer.close()


def test_committed_offsets_wait_for_open_transactions(
    world: World, prefix: str, request: pytest.FixtureRequest
) -> None:
    not_in_memory(request, world, "it answers at once: in one thread nobody could end the transaction")
    topic = world.topic("topic")
    where = TopicPartition(topic, 0)
    consumer = member(world, [topic], group=prefix + "g")
    producer = world.broker.transactional(prefix + "p")
    producer.begin()
    producer.send_offsets(consumer, {where: Position(0, "the new one")})
    answers: list[Position | None] = []
    asking = threading.Thread(target=lambda: answers.append(consumer.committed([where])[where]))

    asking.start()
    asking.join(1.0)
    still_asking = asking.is_alive()
    producer.commit()
    asking.join()

    assert still_asking
    assert answers == [Position(0, "the new one")]
    consumer.close()
    producer.close()


def test_what_a_group_remembers_may_be_4000_characters_long(world: World, prefix: str) -> None:
    topic, to = world.topic("topic"), world.topic("to")
    write(world, Message(topic, b"a"))
    consumer = member(world, [topic], group=prefix + "g")

    process(world, prefix + "p", consumer, to, metadata="ŷ" * 4000)

    [at] = consumer.committed(consumer.assignment()).values()
    assert at == Position(1, "ŷ" * 4000)
    consumer.close()


# -- what retention and compaction leave


def expired(world: World, topic: str) -> TopicPartition:
    where = TopicPartition(topic, 0)
    write(world, *(Message(topic, b"%d" % i) for i in range(10)))
    world.expire(where, 6)
    assert world.broker.ends([where]) == {where: (6, 10)}
    return where


def test_what_retention_took_is_reported_as_a_gap(world: World, prefix: str) -> None:
    topic = world.topic("topic")
    where = expired(world, topic)
    consumer: Consumer = world.broker.consumer(group=prefix + "g", slot="0")
    join(consumer, [topic])

    consumer.start({where: 2})
    seen = until(lambda: consumer.poll(100, 0.1), lambda polled: bool(polled.gaps), "a gap")
    assert seen[-1].gaps == (Gap(partition=where, start=2, end=6),)
    later = consumer.poll(100, 0.3)
    assert [record for polled in [*seen, later] for record in polled.records] == []
    assert later.gaps == ()

    consumer.start({where: 6})
    assert values(rest(consumer)) == [b"6", b"7", b"8", b"9"]
    consumer.close()


def test_a_reader_reports_a_gap_and_goes_on_behind_it(world: World) -> None:
    topic = world.topic("topic")
    where = expired(world, topic)
    reader = world.broker.reader({where: 0})

    seen = until(lambda: reader.poll(100, 0.1), lambda polled: where in polled.ended, "the end")

    assert [gap for polled in seen for gap in polled.gaps] == [Gap(partition=where, start=0, end=6)]
    assert [value for polled in seen for value in values(polled.records)] == [b"6", b"7", b"8", b"9"]
    reader.close()


def test_compaction_leaves_the_last_record_of_each_key_in_its_place(world: World, prefix: str) -> None:
    topic = world.topic(
        "topic", cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.001"
    )
    producer = world.broker.transactional(prefix + "p")
    for number in range(30):
        producer.begin()
        producer.send([Message(topic, b"%d" % number, b"key-%d" % (number % 3))])
        producer.commit()

    world.compact(topic)

    left = [(r.offset, r.key, r.value) for r in contents(world, topic) if r.key != b"roll"]
    assert left == [(2 * n, b"key-%d" % (n % 3), b"%d" % n) for n in (27, 28, 29)]
    producer.close()


# -- writing outside transactions


def test_a_producer_outside_transactions_counts(world: World) -> None:
    topic = world.topic("topic")
    producer = world.broker.producer()

    for i in range(50):
        assert producer.send(Message(topic, b"%d" % i))
    assert producer.send_all([Message(topic, b"%d" % i) for i in range(50, 100)]) == 50
    assert producer.flush(10.0) == 0

    assert (producer.waiting(), producer.failed()) == (0, 0)
    assert names(world, topic) == [b"%d" % i for i in range(100)]
    producer.close()
