"""The demo's producers, on the in-memory broker."""

from __future__ import annotations

import threading

import pytest

from penstock.cli.demo.arrivals import ALL
from penstock.cli.demo.feed import Feed
from penstock.cli.demo.pace import AHEAD, Pace, Stopped
from penstock.runtime.broker import Message, Topic
from penstock.runtime.memory import MemoryBroker, MemoryProducer

SOON = 20.0


def paced(limit: int) -> Pace:
    """Labels may go to this limit, and on from it as it is judged."""
    pace = Pace(start=limit)
    pace.predicted(ALL)
    return pace


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
    pace = paced(9)
    times = [*range(10), *range(AHEAD, AHEAD + 10)]
    feed = Feed(broker, times, messages(20), pace.labels)
    thread = threading.Thread(target=feed.run)
    reached = threading.Event()

    def judge() -> None:  # what has been sent when the system says so is bounded by the pace
        pace.judged(3)
        reached.set()

    thread.start()
    judge()
    assert reached.wait(SOON)
    pace.judged(9)
    thread.join(SOON)
    assert feed.sent == 20
    assert sent(broker) == list(range(20))


def test_a_producer_that_waits_ends_when_the_replay_is_given_up(broker: MemoryBroker) -> None:
    pace = paced(4)
    feed = Feed(broker, range(20), messages(20), pace.labels)
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
    feed = Feed(broker, range(5), messages(5), paced(100).labels)
    feed.run()
    assert feed.repeated == 5
    assert set(sent(broker)) == set(range(5))


def test_a_feed_knows_what_it_has_sent(broker: MemoryBroker) -> None:
    feed = Feed(broker, [3, 5, 5], messages(3), paced(100).labels)
    assert not feed.sent_before(4)
    feed.run()
    assert feed.sent_before(4)
    assert feed.sent_before(None)
