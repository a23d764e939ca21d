"""The demo's producers and its watch on the summaries, on the in-memory broker."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from penstock.cli.demo.feed import Feed
from penstock.cli.demo.pace import Pace, Stopped
from penstock.cli.demo.watch import Watch
from penstock.contracts.records import Span, Summary
from penstock.kernel.hashing import partition_of
from penstock.runtime.broker import Message, Topic
from penstock.runtime.codec import Codec
from penstock.runtime.memory import MemoryBroker, MemoryProducer

if TYPE_CHECKING:
    from collections.abc import Sequence

SOON = 20.0


def messages(count: int) -> list[Message]:
    return [Message("raw", str(number).encode(), str(number).encode()) for number in range(count)]


@pytest.fixture
def broker() -> MemoryBroker:
    memory = MemoryBroker(now=lambda: 0)
    memory.create([Topic(name="raw", partitions=3), Topic(name="penstock.summaries", partitions=3)])
    return memory


def sent(broker: MemoryBroker) -> list[int]:
    return sorted(int(record.value or b"") for record in broker.records("raw"))


def test_everything_is_sent_and_no_more_than_the_pace_allows(broker: MemoryBroker) -> None:
    pace = Pace(start=9, ahead=5)
    feed = Feed(broker, range(20), messages(20), pace)
    thread = threading.Thread(target=feed.run)
    reached = threading.Event()

    def judge() -> None:  # what has been sent when the system says so is bounded by the pace
        pace.judged(10)
        reached.set()

    thread.start()
    judge()
    assert reached.wait(SOON)
    pace.judged(19)
    thread.join(SOON)
    assert feed.sent == 20
    assert sent(broker) == list(range(20))


def test_a_producer_that_waits_ends_when_the_replay_is_given_up(broker: MemoryBroker) -> None:
    pace = Pace(start=4, ahead=0)
    feed = Feed(broker, range(20), messages(20), pace)
    caught: list[type[BaseException]] = []

    def run() -> None:
        with pytest.raises(Stopped) as stopped:
            feed.run()
        caught.append(stopped.type)

    thread = threading.Thread(target=run)
    thread.start()
    pace.stop()
    thread.join(SOON)
    assert caught == [Stopped]
    assert set(sent(broker)) <= set(range(5))


class Flaky(MemoryProducer):
    """Loses the last record of its first batch, and says so as Kafka's does: by its count of failures."""

    lost = 0

    def send(self, message: Message) -> bool:
        if message.value == b"3" and not Flaky.lost:
            Flaky.lost = 1
            return True
        return super().send(message)

    def failed(self) -> int:
        return Flaky.lost


def test_a_batch_of_which_a_record_failed_is_sent_again(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "producer", lambda: Flaky(broker))
    feed = Feed(broker, range(5), messages(5), Pace(start=100, ahead=0))
    feed.run()
    assert feed.repeated == 5
    assert set(sent(broker)) == set(range(5))


def summary(
    partition: int, watermark: int | None, *, idle: bool = False, pipeline: str = "flights"
) -> Summary:
    return Summary(
        pipeline=pipeline,
        partition=partition,
        sequence=0,
        predictions=Span(start=0, end=0),
        outcomes=Span(start=0, end=0),
        ordinal=0,
        rows=0,
        watermark=watermark,
        idle=idle,
        repeats=0,
        duplicate_labels=0,
        stale_labels=0,
        unmatched_labels=0,
        lost=0,
        row_blocks=(),
        scored=(),
        answered=(),
        time_blocks=(),
    )


def test_the_watch_tells_the_watermark_of_its_pipeline_as_it_moves(broker: MemoryBroker) -> None:
    codec, producer = Codec(), broker.producer()
    partition = partition_of(b"flights", 3)

    def write(summaries: Sequence[Summary]) -> None:
        for each in summaries:
            producer.send(Message("penstock.summaries", codec.encode(each), b"flights", partition=partition))

    told: list[int] = []
    enough = threading.Event()

    def judged(watermark: int) -> None:
        told.append(watermark)
        if watermark == 60:
            enough.set()

    write([summary(0, None), summary(0, 10), summary(1, 5), summary(0, 20), summary(0, 99, pipeline="other")])
    watch = Watch(broker, "penstock.summaries", "flights", judged)
    thread = threading.Thread(target=watch.run)
    thread.start()
    write([summary(1, 15), summary(1, 15, idle=True), summary(0, 60)])
    assert enough.wait(SOON)
    watch.stop()
    thread.join(SOON)
    # 10 is told before the second partition has said anything; its 5 takes nothing back.
    assert told == [10, 15, 20, 60]
