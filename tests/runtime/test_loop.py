"""The loop by its numbered steps, with a task small enough to see through."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import pytest
from structlog.testing import capture_logs

from penstock.contracts.records import DeadLetter, Source
from penstock.kernel.errors import Invalid
from penstock.runtime import deadletter
from penstock.runtime.broker import Broker, Message, Polled, Position, Record, Topic, TopicPartition
from penstock.runtime.codec import Codec
from penstock.runtime.deadletter import Fuse, FuseBlown, Refused
from penstock.runtime.errors import Fenced, NotYet
from penstock.runtime.fold import read_range
from penstock.runtime.loop import Loop, Staged, settle
from penstock.runtime.telemetry import off
from tests.scenarios.fragile import STEPS, FragileBroker, Killed, Step

CODEC = Codec()
FIRST, SECOND = TopicPartition("in", 0), TopicPartition("in", 1)


class Copy:
    """Copies to `out` with its place in the order read; refuses `bad`, and may have to wait at `early`."""

    name = "copy"
    codec = CODEC
    limit = 2000

    def __init__(self, broker: FragileBroker) -> None:
        self.broker = broker
        self.wanted = ["in"]
        self.waits = False
        self.lacks = False
        """Whether a rebuild misses something that is still on its way."""
        self.says_ends = False
        """Whether an end is worth a record."""
        self.holds: set[TopicPartition] = set()
        self.forgets = False
        """Whether a rebuilt state holds nothing."""
        self.seen: defaultdict[TopicPartition, list[bytes]] = defaultdict(list)
        self.restored: list[Mapping[TopicPartition, Position]] = []
        self.adopted: list[Mapping[TopicPartition, Position]] = []
        self.ends: list[frozenset[TopicPartition]] = []

    def refresh(self) -> bool:
        return True

    def topics(self) -> Sequence[str]:
        return self.wanted

    def restore(self, positions: Mapping[TopicPartition, Position]) -> Iterator[None]:
        self.broker.trace.append("restore")
        if self.lacks:
            raise NotYet("a schema")
        self.restored.append(dict(positions))
        self.seen.clear()
        if self.forgets:
            self.holds.clear()
        starts = self.broker.ends(positions)
        ranges = {where: (starts[where][0], position.offset) for where, position in positions.items()}
        for records in read_range(self.broker, ranges):
            for record in records:
                if record.value != b"bad":
                    self._see(record)
            yield

    gather = 0.0

    def due(self) -> bool:
        return False

    def held(self) -> frozenset[TopicPartition]:
        return frozenset(self.holds)

    def process(self, polled: Polled) -> Staged:
        self.broker.trace.append("process")
        self.ends.append(polled.ended)
        messages, refused, metadata = [], [], {}
        if self.says_ends and not polled.records:
            messages.append(Message("out", b"nothing more", b"key"))
        for record in polled.records:
            if record.value == b"early" and self.waits:
                raise NotYet("early")
            try:
                place = self._see(record)
            except Invalid as why:
                refused.append(Refused(record, why, "copy"))
                continue
            messages.append(Message("out", b"%s %d" % (record.value, place), record.key))
            if record.value == b"remember":
                metadata[TopicPartition(record.topic, record.partition)] = f"{place} seen"
        return Staged(messages=messages, refused=refused, metadata=metadata)

    def committed(self, positions: Mapping[TopicPartition, Position]) -> None:
        self.broker.trace.append("adopt")
        self.adopted.append(dict(positions))

    def close(self) -> None:
        self.broker.trace.append("close")

    def dead_letters(self, topic: str) -> str:
        return f"letters.{topic}"

    def _see(self, record: Record) -> int:
        if record.value == b"bad":
            raise Invalid("it is bad", field="value", reason="bad")
        seen = self.seen[TopicPartition(record.topic, record.partition)]
        seen.append(record.value or b"")
        return len(seen)


class World:
    """A broker with the topics, and a process that runs the task."""

    def __init__(self) -> None:
        self._now = 0
        self.broker = FragileBroker(now=self._tick)
        names = ["in", "more", "out", "letters.in", "letters.more"]
        self.broker.create([Topic(name=name, partitions=2) for name in names])
        self.start()

    def _tick(self) -> int:
        self._now += 1
        return self._now

    def start(self) -> None:
        """A new process in the same slot."""
        self.task = Copy(self.broker)
        self.loop = self.beside(self.task, fuse=Fuse())

    def beside(self, task: Copy, *, fuse: Fuse | None = None) -> Loop:
        broker: Broker = self.broker
        return Loop(task, broker, service="copier", prefix="p.", slot="0", telemetry=off(), fuse=fuse)

    def given(self, *values: bytes, partition: int = 0, topic: str = "in") -> None:
        for value in values:
            self.broker.append(Message(topic, value, b"key", (), partition))

    def run(self) -> None:
        """To the end of the input, with a new process for each that dies."""
        quiet = 0
        while quiet < 2:  # an aborted round says that it did nothing, too
            try:
                quiet = 0 if self.loop.step() else quiet + 1
            except Killed:
                self.start()
                quiet = 0

    def out(self) -> list[bytes | None]:
        return [record.value for record in self.broker.records("out")]

    def committed(self) -> dict[TopicPartition, Position]:
        return self.broker.groups.get("p.copy", {})


@pytest.fixture
def world() -> World:
    return World()


# -- the steps


def test_a_round_goes_by_the_numbers(world: World) -> None:
    world.given(b"a", b"b")
    world.run()
    assert world.broker.trace == ["restore", "process", "begin", "send", "offsets", "commit", "adopt"]
    assert world.out() == [b"a 1", b"b 2"]
    assert world.committed()[FIRST] == Position(2)
    assert world.task.adopted == [{FIRST: Position(2), SECOND: Position(0)}]


def test_a_round_without_news_is_no_transaction(world: World) -> None:
    world.given(b"a")
    world.run()
    world.broker.trace.clear()
    assert not world.loop.step()
    assert world.broker.trace == []


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_process_that_dies_at_any_step_leaves_everything_once(world: World, step: Step, done: bool) -> None:
    world.given(b"a", b"bad")
    world.run()
    world.given(b"b", b"bad", b"c")
    world.broker.kill(step, done=done)
    world.run()
    assert world.broker.failures == 1
    assert world.out() == [b"a 1", b"b 2", b"c 3"]
    assert len(world.broker.records("letters.in")) == 2
    assert world.committed()[FIRST].offset == 5


@pytest.mark.parametrize("step", STEPS[1:])
def test_an_abort_throws_the_state_away_and_makes_it_of_the_log(world: World, step: Step) -> None:
    world.given(b"a")
    world.run()
    task = world.task
    world.given(b"b")
    world.broker.abort(step)
    assert not world.loop.step()
    assert task.seen[FIRST] == [b"a", b"b"], "the state ran ahead"
    assert len(task.adopted) == 1, "and was not adopted"
    assert world.loop.step()
    assert task.seen[FIRST] == [b"a"], "as far as what is committed"
    world.run()
    assert world.task is task, "no new process"
    assert len(task.restored) == 2
    assert world.out() == [b"a 1", b"b 2"]


def test_an_older_process_in_the_slot_writes_nothing_more(world: World) -> None:
    world.given(b"a")
    world.run()
    older = world.loop
    world.start()
    world.given(b"b")
    with pytest.raises(Fenced):
        older.step()
    world.run()
    assert world.out() == [b"a 1", b"b 2"]


def test_partitions_that_come_are_restored_and_those_that_go_forgotten(world: World) -> None:
    world.given(b"a")
    world.run()
    world.task.wanted = ["in", "more"]
    world.given(b"b", topic="more", partition=1)
    world.run()
    assert world.out() == [b"a 1", b"b 1"]
    assert {where.topic for where in world.task.restored[-1]} == {"in", "more"}
    world.task.wanted = ["more"]
    world.given(b"c")
    world.run()
    assert {where.topic for where in world.task.restored[-1]} == {"more"}
    assert world.task.seen.keys() == {TopicPartition("more", 1)}
    assert len(world.out()) == 2


# -- waiting


def test_what_comes_before_what_it_needs_waits_and_is_said_once(world: World) -> None:
    world.given(b"a", b"early", b"b")
    world.task.waits = True
    with capture_logs() as lines:
        for _ in range(10):
            world.loop.step()
        assert world.out() == []
        assert world.committed() == {}
        world.task.waits = False
        world.run()
    assert world.out() == [b"a 1", b"early 2", b"b 3"]
    assert [line["event"] for line in lines] == ["not_yet", "not_yet_ended"]


def test_a_rebuild_that_lacks_something_waits_for_it_too(world: World) -> None:
    world.task.lacks = True
    world.given(b"a")
    with capture_logs() as lines:
        for _ in range(5):
            assert not world.loop.step()
        world.task.lacks = False
        world.run()
    assert world.out() == [b"a 1"]
    assert [line["event"] for line in lines] == ["not_yet", "not_yet_ended"]


def test_a_held_partition_delivers_nothing_until_it_is_let_go(world: World) -> None:
    world.task.holds = {FIRST}
    world.given(b"a")
    world.given(b"b", partition=1)
    world.run()
    assert world.out() == [b"b 1"]
    world.task.holds.clear()
    world.run()
    assert sorted(filter(None, world.out())) == [b"a 1", b"b 1"]


def test_a_partition_that_was_held_when_a_transaction_was_aborted_is_let_go(world: World) -> None:
    world.task.holds = {FIRST}
    world.given(b"a")
    world.given(b"b", partition=1)
    world.loop.step()
    world.broker.abort("commit")
    world.loop.step()
    assert world.broker.failures == 1
    world.task.forgets = True
    world.run()
    assert sorted(filter(None, world.out())) == [b"a 1", b"b 1"]


def test_that_a_partition_came_to_its_end_is_news_once(world: World) -> None:
    world.run()
    assert world.task.ends == [{FIRST, SECOND}]
    world.given(b"a")
    world.run()
    assert world.task.ends == [{FIRST, SECOND}] * 2
    assert world.broker.trace.count("begin") == 1, "news alone writes nothing here"


def test_what_is_written_without_a_record_commits_the_offsets_where_they_are(world: World) -> None:
    """Without offsets in it the broker could not tell that another process has the partitions now."""
    world.given(b"a")
    world.run()
    world.start()
    world.task.says_ends = True
    world.run()
    assert world.out() == [b"a 1", b"nothing more"]
    assert world.committed() == {FIRST: Position(1), SECOND: Position(0)}


# -- what rides beside the offsets


def test_metadata_stays_beside_the_offset_until_it_is_replaced(world: World) -> None:
    world.given(b"a", b"remember")
    world.run()
    world.given(b"b")
    world.run()
    assert world.committed()[FIRST] == Position(3, "2 seen")
    world.start()
    world.given(b"remember")
    world.given(b"c", partition=1)
    world.run()
    assert world.task.restored[0][FIRST] == Position(3, "2 seen")
    assert world.committed() == {FIRST: Position(4, "4 seen"), SECOND: Position(1)}


# -- what retention took


def test_records_lost_to_retention_are_a_dead_letter_and_the_stream_goes_on(world: World) -> None:
    world.given(b"a", b"b", b"c", b"d")
    world.broker.groups["p.copy"] = {FIRST: Position(1)}
    world.broker.expire(FIRST, before=3)
    with capture_logs() as lines:
        world.run()
    assert world.out() == [b"d 1"]
    assert world.committed()[FIRST] == Position(4)
    [letter] = world.broker.records("letters.in")
    why = reason_in(letter)
    assert (why.reason, why.source, why.retry) == ("gap", Source(topic="in", partition=0, offset=1), "")
    assert why.message == "records 1 to 2 are gone: retention removed them unread"
    assert [line["event"] for line in lines] == ["records_lost_to_retention"]


def test_a_group_that_never_read_begins_at_what_is_left(world: World) -> None:
    world.given(b"a", b"b", b"c")
    world.broker.expire(FIRST, before=2)
    world.run()
    assert world.out() == [b"c 1"]
    assert world.broker.records("letters.in") == []


# -- dead letters


def reason_in(letter: Record) -> DeadLetter:
    why = CODEC.decode(dict(letter.headers)[deadletter.HEADER]).value
    assert isinstance(why, DeadLetter)
    return why


def test_a_dead_letter_is_the_record_as_it_came_with_why_and_whence(world: World) -> None:
    world.given(b"a")
    headers = (("traceparent", b"00-1"), ("again", b"1"), ("again", b"2"))
    world.broker.append(Message("in", b"bad", b"the key", headers, 0))
    world.given(b"b")
    world.run()

    assert world.out() == [b"a 1", b"b 2"], "the stream goes on"
    [letter] = world.broker.records("letters.in")
    assert (letter.key, letter.value) == (b"the key", b"bad")
    assert deadletter.original_headers(letter) == headers
    assert reason_in(letter) == DeadLetter(
        service="copier",
        stage="copy",
        reason="bad",
        message="it is bad",
        field="value",
        source=Source(topic="in", partition=0, offset=1),
        timestamp=2,
        retry="penstock dlq retry letters.in --origin in/0/1",
        attempts=0,
    )
    connect = {name: value for name, value in letter.headers if name.startswith("__connect.errors.")}
    assert connect == {
        "__connect.errors.topic": b"in",
        "__connect.errors.partition": b"0",
        "__connect.errors.offset": b"1",
        "__connect.errors.exception.class.name": b"Invalid",
        "__connect.errors.exception.message": b"it is bad",
        "__connect.errors.stage": b"copy",
    }


def test_a_letter_of_a_letter_has_one_reason(world: World) -> None:
    world.given(b"bad")
    world.run()
    [first] = world.broker.records("letters.in")
    world.broker.append(Message("in", first.value, first.key, first.headers, 0))
    world.run()
    second = world.broker.records("letters.in")[-1]
    assert [name for name, _ in second.headers].count(deadletter.HEADER) == 1
    assert reason_in(second).source.offset == 1


@pytest.mark.parametrize("part", ["key", "value", "headers"])
def test_a_record_too_large_for_its_letter_is_named_and_not_carried(part: str) -> None:
    large = bytes(deadletter.CARRIED)
    record = Record(
        "in",
        0,
        7,
        0,
        large if part == "key" else b"k",
        large if part == "value" else b"v",
        (("h", large),) if part == "headers" else (),
    )
    refused = Refused(record, Invalid("too large", reason="too_large"))
    letter = deadletter.letter(refused, service="copier", topic="letters.in", codec=CODEC)
    assert (letter.key, letter.value) == (None, None)
    assert sum(len(value) for _, value in letter.headers) < 1000
    why = CODEC.decode(dict(letter.headers)[deadletter.HEADER]).value
    assert (why.source.offset, why.retry) == (7, "")


def test_the_fuse_blows_before_anything_is_written_and_again_after_a_restart(world: World) -> None:
    world.given(*[b"bad"] * 960, *[b"good"] * 40)
    for _ in range(2):
        with pytest.raises(FuseBlown, match=r"960 of the last 1000 records of in are invalid"):
            world.run()
        world.start()
    assert not world.broker.records("letters.in")
    assert FIRST not in world.committed()


def test_without_a_fuse_everything_may_become_dead_letters(world: World) -> None:
    world.loop = world.beside(world.task, fuse=None)
    world.given(*[b"bad"] * 1000)
    world.run()
    assert len(world.broker.records("letters.in")) == 1000
    assert world.committed()[FIRST].offset == 1000


def test_the_fuse_holds_where_enough_is_valid(world: World) -> None:
    world.given(*[b"bad"] * 940, *[b"good"] * 60)
    world.run()
    assert world.committed()[FIRST].offset == 1000


# -- many loops in one thread


def test_a_system_that_does_not_come_to_rest_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="still busy after 3 rounds"):
        settle([lambda: False, lambda: True], rounds=3)


def test_a_loop_that_waits_does_not_keep_a_system_busy(world: World) -> None:
    world.given(b"early")
    world.task.waits = True
    settle([world.loop.step], rounds=20)
    assert world.out() == []
