"""gRPC answers in the log: all of them, or a record that says how many are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import structlog

from penstock.contracts.records import Origin, Prediction, PredictionsLost, Role, Score
from penstock.inference import log
from penstock.inference.log import PredictionLog
from penstock.inference.notices import Notices
from penstock.inference.oip import infer
from penstock.inference.tally import Tally
from penstock.runtime.broker import Message, Topic
from penstock.runtime.codec import Codec
from penstock.runtime.errors import Unavailable
from penstock.runtime.memory import MemoryBroker
from tests.inference.asking import CHANCE, NOON, Breaks, packed, serving
from tests.inference.world import NAMES_OF, PREDICTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from penstock.inference.log import Later
    from penstock.inference.oip import Served
    from penstock.runtime import names

ROW = [12.5, 2.0, 1.0, 12.0, float("nan")]


class Line:
    """A producer whose wire can be cut, and whose buffer has room for three records."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.buffer: list[Message] = []
        self.lost = 0

    def send(self, message: Message) -> bool:
        if self.world.fatal:
            raise Unavailable("fatal")
        if len(self.buffer) == 3:
            return False
        self.buffer.append(message)
        self.deliver()
        return True

    def send_all(self, messages: Sequence[Message]) -> int:
        for taken, message in enumerate(messages):
            if not self.send(message):
                return taken
        return len(messages)

    def deliver(self) -> None:
        if not self.world.cut:
            for message in self.buffer:
                self.world.cluster.append(message)
            self.buffer.clear()

    def expire(self) -> None:
        """The time a record may wait is over."""
        self.lost += len(self.buffer)
        self.buffer.clear()

    def failed(self) -> int:
        return self.lost

    def waiting(self) -> int:
        self.deliver()
        return len(self.buffer)

    def flush(self, seconds: float) -> int:
        assert seconds > 0
        return self.waiting()

    def close(self) -> None:
        self.expire()


class World:
    """A broker that makes such producers, and a log on it."""

    def __init__(self, later: Later = lambda _, call: call()) -> None:
        self.now = NOON
        self.cut = self.fatal = self.away = False
        self.cluster = MemoryBroker(now=lambda: self.now)
        self.cluster.create([Topic(name=PREDICTIONS, partitions=3)])
        self.lines: list[Line] = []
        self.counted: list[tuple[str, int]] = []
        self.gauges: dict[str, float] = {}
        self.on = True
        self.codec = Codec()
        self.notices = Notices(self)  # type: ignore[arg-type]  # it makes producers: more is not asked of it
        self.tally = Tally()
        self.log = PredictionLog(
            self,  # type: ignore[arg-type]  # as above
            NAMES_OF,
            self.codec,
            self.notices,
            slot="7",
            telemetry=self,  # type: ignore[arg-type]  # it counts
            tally=self.tally,
            now=lambda: self.now,
            later=later,
        )

    def producer(self) -> Line:
        if self.away:
            raise Unavailable("nobody answers")
        self.lines.append(Line(self))
        return self.lines[-1]

    def count(self, metric: names.Counter, value: int = 1, **attributes: Any) -> None:
        assert attributes["pipeline"] == "trips"
        self.counted.append((metric.name, value))

    def gauge(self, metric: names.Gauge, value: float, **attributes: Any) -> None:
        assert attributes["pipeline"] == "trips"
        self.gauges[metric.name] = value

    def tick(self) -> None:
        self.now += 100
        self.log.tick()
        self.notices.tick()

    def written(self) -> list[Any]:
        return [self.codec.decode(record.value or b"").value for record in self.cluster.records(PREDICTIONS)]

    def gaps(self) -> list[PredictionsLost]:
        return [each for each in self.written() if isinstance(each, PredictionsLost)]

    def ids(self) -> set[str]:
        return {each.id for each in self.written() if isinstance(each, Prediction)}


def served(id_: str, rows: int = 1, **options: Any) -> Served:
    _, found = infer({"trips": serving(**options)}, packed(*[ROW] * rows, id=id_), CHANCE)
    return found


@pytest.fixture
def world() -> World:
    return World()


def test_every_row_of_an_answer_is_a_record(world: World) -> None:
    world.log(served("b", 2), (("traceparent", b"call"),))
    records = world.cluster.records(PREDICTIONS)
    assert {record.key for record in records} == {b"b/0", b"b/1"}
    assert {record.headers for record in records} == {(("traceparent", b"call"),)}
    head, rows = world.codec.decode(records[0].value or b"")
    assert head == Prediction(
        id=head.id,
        origin=Origin.GRPC,
        time=NOON,
        epoch=7,
        version=1,
        role=Role.CHAMPION,
        scores=(Score(version=1, values=(27.5,)),),
        error=None,
        cleared=(),
    )
    assert rows is not None
    assert np.array_equal(rows.matrix([records[0].value or b""]), [ROW], equal_nan=True)


class Turns:
    """The turns of an event loop, by hand."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, seconds: float, call: Callable[[], None]) -> None:
        self.due.append((seconds, call))

    def next(self) -> float:
        [(seconds, call)] = self.due
        self.due.clear()
        call()
        return seconds


def test_answers_are_gathered_and_written_in_the_order_they_were_given() -> None:
    turns = Turns()
    world = World(later=turns)
    other = served("c", 2, shadows=(2,), epoch=8)
    for each, headers in (
        (served("a"), ()),
        (served("b", 2), (("traceparent", b"call"),)),
        (other, ()),
        (served("d"), ()),
    ):
        world.log(each, headers)
    assert world.written() == []
    waits = [turns.next() for _ in range(4)]
    assert waits == [log.GATHER_SECONDS, 0.0, 0.0, 0.0]  # each route apart, in a turn of its own
    assert not turns.due
    written = sorted(world.cluster.records(PREDICTIONS), key=lambda record: record.key or b"")
    heads = [world.codec.decode(record.value or b"").value for record in written]
    assert [(head.id, head.epoch) for head in heads] == [
        ("a", 7),
        ("b/0", 7),
        ("b/1", 7),
        ("c/0", 8),
        ("c/1", 8),
        ("d", 7),
    ]
    assert [bool(record.headers) for record in written] == [False, True, True, False, False, False]


def test_a_large_answer_is_written_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "SLICE", 2)
    turns = Turns()
    world = World(later=turns)
    world.log(served("a", 5), ())
    for so_far in (2, 4, 5):
        turns.next()
        world.lines[0].deliver()
        assert len(world.ids()) == so_far
    assert not turns.due


def test_what_comes_while_parts_are_written_is_gathered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "SLICE", 1)
    turns = Turns()
    world = World(later=turns)
    world.log(served("a", 2), ())
    turns.next()
    world.log(served("b"), ())
    assert [turns.next(), turns.next()] == [0.0, log.GATHER_SECONDS]
    assert not turns.due
    assert world.ids() == {"a/0", "a/1", "b"}


def test_more_than_can_be_gathered_is_lost_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MOST", 3)
    turns = Turns()
    world = World(later=turns)
    for id_ in ("a", "b"):
        world.log(served(id_, 2), ())
    turns.next()
    world.log(served("c", 2), ())
    turns.next()
    for _ in range(3):
        world.tick()
    assert world.ids() == {"a/0", "a/1", "c/0", "c/1"}
    assert [gap.count for gap in world.gaps()] == [2]


def test_a_stop_writes_what_was_only_noted() -> None:
    world = World(later=Turns())
    world.log(served("a", 2), ())
    world.log.close()
    assert world.ids() == {"a/0", "a/1"}


def test_an_operator_sees_what_waits(world: World) -> None:
    with structlog.testing.capture_logs() as lines:
        world.log(served("a"), ())
        world.tick()
        assert world.gauges == {"penstock.predictions.spooled": 0}
        world.cut = True
        world.log(served("b", 2), ())
        for _ in range(30):
            world.tick()
        assert world.gauges == {"penstock.predictions.spooled": 2}
        world.cut = False
        world.tick()
        assert world.gauges == {"penstock.predictions.spooled": 0}
    assert [line["event"] for line in lines] == ["predictions_spooled", "predictions_spooled_ended"]
    assert lines[0]["count"] == 2
    assert world.gaps() == []


def test_a_gap_begins_no_earlier_than_a_record_can_wait(world: World) -> None:
    world.log(served("a"), ())
    world.cut = True
    world.log(served("b", 3), ())
    for _ in range(1000):  # as if there were always something on its way: nothing tells when all was written
        world.tick()
    world.log(served("c", 1), ())
    world.cut = False
    for _ in range(3):
        world.tick()
    [gap] = world.gaps()
    assert gap.count == 1
    assert 60_000 <= gap.until - gap.since <= 65_000


def test_an_answer_that_failed_is_logged_as_such(world: World) -> None:
    _, found = infer({"trips": serving(Breaks())}, packed(ROW, id="x"), CHANCE)
    world.log(found, ())
    (record,) = world.written()
    assert (record.version, record.role) == (None, None)
    assert record.error == "version 1 could not score: no luck with 1 rows"


def test_nothing_lost_leaves_no_gap(world: World) -> None:
    for number in range(5):
        world.log(served(f"a{number}"), ())
        world.tick()
    assert world.gaps() == []
    assert len(world.ids()) == 5


def test_what_the_buffer_does_not_take_is_a_gap_once_something_can_be_written(world: World) -> None:
    world.log(served("before"), ())
    world.tick()
    clean = world.now
    world.cut = True
    for number in range(5):
        world.log(served(f"a{number}"), ())
    for _ in range(3):
        world.tick()
    assert world.ids() == {"before"}
    world.cut = False
    for _ in range(3):
        world.tick()
    assert world.ids() == {"before", "a0", "a1", "a2"}
    assert world.gaps() == [
        PredictionsLost(pipeline="trips", slot="7", count=2, since=clean, until=clean + 100)
    ]
    assert world.counted == [("penstock.predictions.unlogged", 2)]


def test_what_could_not_be_written_in_time_is_a_gap(world: World) -> None:
    world.cut = True
    world.log(served("a", 2), ())
    world.tick()
    world.lines[0].expire()
    world.tick()
    world.lines[1].expire()  # the gap record itself did not get through either
    for _ in range(3):
        world.tick()
    assert world.written() == []
    world.cut = False
    for _ in range(4):
        world.tick()
    assert [gap.count for gap in world.gaps()] == [2]
    assert world.ids() == set()


def test_losses_while_a_gap_waits_are_in_the_next_one(world: World) -> None:
    world.cut = True
    world.log(served("a", 5), ())
    world.tick()
    world.log(served("b", 1), ())
    world.tick()
    world.cut = False
    for _ in range(6):
        world.tick()
    assert [gap.count for gap in world.gaps()] == [2, 1]
    first, second = world.gaps()
    assert first.until <= second.since
    assert world.ids() == {"a/0", "a/1", "a/2"}


def test_a_broker_that_is_away_from_the_start_costs_predictions_and_no_answer(world: World) -> None:
    world.away = True
    world.log(served("a", 3), ())
    world.tick()
    world.away = False
    for _ in range(3):
        world.tick()
    assert [gap.count for gap in world.gaps()] == [3]
    world.log(served("b"), ())
    assert world.ids() == {"b"}


def test_a_producer_that_is_done_for_is_replaced(world: World) -> None:
    world.cut = True
    world.log(served("a"), ())
    world.fatal = True
    world.log(served("b", 2), ())
    world.tick()
    world.cut = world.fatal = False
    for _ in range(3):
        world.tick()
    assert [gap.count for gap in world.gaps()] == [3]  # the one in its buffer, and the two it refused
    world.log(served("c"), ())
    assert world.ids() == {"c"}


def test_a_stop_writes_what_is_in_the_buffer(world: World) -> None:
    world.cut = True
    world.log(served("a", 5), ())
    world.cut = False
    world.log.close()
    world.notices.close()
    assert world.ids() == {"a/0", "a/1", "a/2"}
    assert [gap.count for gap in world.gaps()] == [2]


def test_a_stop_without_a_broker_ends_all_the_same(world: World) -> None:
    world.cut = True
    world.log(served("a"), ())
    world.log.close()
    world.notices.close()
    assert world.counted == [("penstock.predictions.unlogged", 1)]


def test_a_later_notice_replaces_one_that_waits(world: World) -> None:
    done = []
    world.away = True
    world.notices.put("k", Message(PREDICTIONS, b"1"), lambda: done.append(1))
    world.notices.tick()
    world.notices.put("k", Message(PREDICTIONS, b"2"), lambda: done.append(2))
    assert world.notices.holds("k")
    world.away = False
    for _ in range(3):
        world.notices.tick()
    assert [record.value for record in world.cluster.records(PREDICTIONS)] == [b"2"]
    assert (done, world.notices.holds("k")) == ([2], False)


def test_the_tally_tells_only_what_is_new() -> None:
    told: list[dict[str, Any]] = []

    class Telemetry:
        def count(self, metric: names.Counter, value: int, **attributes: Any) -> None:
            told.append({"name": metric.name, "value": value, **attributes})

    tally = Tally()
    answers = served("a", 2).scored.answers
    tally.add("trips", Origin.GRPC, answers)
    tally.report(Telemetry())  # type: ignore[arg-type]  # it counts
    tally.add("trips", Origin.GRPC, answers[:1])
    tally.report(Telemetry())  # type: ignore[arg-type]  # as above
    tally.report(Telemetry())  # type: ignore[arg-type]  # as above
    same = {
        "name": "penstock.predictions",
        "pipeline": "trips",
        "origin": "grpc",
        "version": 1,
        "role": "champion",
    }
    assert told == [{**same, "value": 2}, {**same, "value": 1}]
