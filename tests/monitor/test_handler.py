"""What the Faust shell does with one summary, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from penstock.contracts.records import DeadLetter
from penstock.kernel.errors import Invalid
from penstock.monitor.faust.handler import Handler
from penstock.monitor.ledger import Taken
from penstock.runtime.broker import Message, Record
from penstock.runtime.catalog import Catalog, Names
from penstock.runtime.deadletter import HEADER, Fuse, FuseBlown
from penstock.runtime.errors import NotYet
from penstock.runtime.memory import MemoryBroker
from penstock.runtime.telemetry import off
from penstock.runtime.topics import topics
from tests.monitor.toy import Sum, ToyCore, summary

NAMES = Names("penstock.")


class Desk:
    """A handler, and a broker that acknowledges what it is sent."""

    def __init__(self, core: type[ToyCore] = ToyCore, fuse: Fuse | None = None) -> None:
        broker = MemoryBroker(now=lambda: 0)
        broker.create(topics(NAMES.prefix))
        self.catalog = Catalog(broker, NAMES)
        self.core = core(self.catalog, broker)
        self.sent: list[list[Message]] = []
        self.states: dict[bytes, bytes] = {}
        self.broken = False
        self.handler = Handler(
            self.core,
            self.catalog,
            write=self.write,
            recall=self.states.get,
            group="penstock.monitor",
            telemetry=off(),
            fuse=fuse,
        )

    async def write(self, messages: Sequence[Message]) -> None:
        if self.broken:
            raise OSError("the broker is away")
        self.sent.append(list(messages))

    def gets(self, offset: int, number: int | bytes, key: str = "a") -> None:
        message = summary(NAMES, self.catalog.control, key, number)
        record = Record(message.topic, message.partition or 0, offset, 0, message.key, message.value)
        asyncio.run(self.handler.handle(record))

    def topics(self) -> list[list[str]]:
        return [[each.topic.removeprefix("penstock.") for each in messages] for messages in self.sent]


def test_the_outputs_are_there_before_the_state_and_on_the_summarys_partition() -> None:
    desk = Desk()
    desk.gets(3, 5)
    assert desk.topics() == [["evidence"], ["monitor-state"]]
    (output,), (state,) = desk.sent
    assert output.partition == state.partition == summary(NAMES, 3, "a", 0).partition
    assert (output.key, state.key, state.value) == (b"a", b"a", b"4\n[1,5]")


def test_a_batch_is_refreshed_for_once() -> None:
    desk = Desk()
    ends = iter([3, 9])
    desk.handler = Handler(
        desk.core,
        desk.catalog,
        write=desk.write,
        recall=desk.states.get,
        group="penstock.monitor",
        telemetry=off(),
        fuse=None,
        reached=lambda _: next(ends),
    )
    refreshed: list[int] = []
    desk.core.refresh = lambda: refreshed.append(offset)  # type: ignore[method-assign]
    for offset in (0, 1, 2, 3, 8):
        desk.gets(offset, 1)
    assert refreshed == [0, 3]


def test_where_there_is_nothing_to_say_the_state_alone_is_written() -> None:
    desk = Desk()
    desk.gets(0, 0)
    assert desk.topics() == [["monitor-state"]]


def test_what_was_taken_is_passed_over_also_by_the_next_process() -> None:
    desk, heir = Desk(), Desk()
    for offset in (0, 2, 3):
        desk.gets(offset, 1)
    heir.states[b"a"] = desk.sent[-1][0].value or b""
    for offset in (0, 2, 3, 7):
        heir.gets(offset, 1)
    assert [message.value for message in heir.sent[-1]] == [b"8\n[4,4]"]
    assert len(heir.sent) == 2, "an output and a state, of the last record alone"


def test_what_is_forgotten_is_recalled() -> None:
    desk = Desk()
    desk.gets(0, 1)
    desk.states[b"a"] = b"9\n[20,30]"
    desk.handler.forget()
    desk.gets(9, 1)
    assert desk.sent[-1][0].value == b"10\n[21,31]"


def test_what_cannot_be_written_is_an_error_and_not_done() -> None:
    desk = Desk()
    desk.broken = True
    with pytest.raises(OSError, match="away"):
        desk.gets(0, 1)


def test_what_can_never_be_taken_is_a_dead_letter_and_the_state_stays() -> None:
    desk = Desk()
    desk.gets(0, 1)
    desk.gets(1, b"garbage")
    desk.gets(2, 1)
    assert desk.topics() == [["evidence"], ["monitor-state"], ["dead-letters.monitor"], *desk.topics()[:2]]
    (letter,) = desk.sent[2]
    why = desk.catalog.codec.decode(dict(letter.headers)[HEADER]).value
    assert isinstance(why, DeadLetter)
    assert (why.service, why.reason, why.source.offset, letter.value) == (
        "monitor",
        "undecodable",
        1,
        b"garbage",
    )
    assert desk.sent[-1][0].value == b"3\n[2,2]"


@pytest.mark.parametrize(("key", "reason"), [(None, "no_key"), (b"a", "misplaced")])
def test_a_record_where_its_pipeline_does_not_belong_is_a_dead_letter(key: bytes | None, reason: str) -> None:
    desk = Desk()
    elsewhere = ((summary(NAMES, 3, "a", 0).partition or 0) + 1) % 3
    record = Record(NAMES.of("summaries"), elsewhere, 0, 0, key, b"1")
    asyncio.run(desk.handler.handle(record))
    ((letter,),) = desk.sent
    why = desk.catalog.codec.decode(dict(letter.headers)[HEADER]).value
    assert isinstance(why, DeadLetter)
    assert why.reason == reason


class Slow(ToyCore):
    """It needs something that comes with the third look."""

    looks = 0

    def refresh(self) -> None:
        self.looks += 1

    def take(self, state: Sum | None, record: Record) -> Taken[Sum]:
        if self.looks < 3:
            raise NotYet("the model is on its way")
        return super().take(state, record)


def test_what_cannot_be_taken_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.monitor.faust.handler.PATIENCE", 0.0)
    desk = Desk(Slow)
    desk.gets(0, 1)
    assert desk.core.looks == 3  # type: ignore[attr-defined] # of Slow
    assert desk.topics() == [["evidence"], ["monitor-state"]]


def test_the_fuse_blows_before_another_dead_letter() -> None:
    desk = Desk(fuse=Fuse(window=10, share=0.95))
    for offset in range(9):
        desk.gets(offset, b"garbage")
    with pytest.raises(FuseBlown, match="10 of the last 10"):
        desk.gets(9, b"garbage")
    assert len(desk.sent) == 9


def test_an_error_of_the_core_is_not_a_dead_letter() -> None:
    class Broken(ToyCore):
        def take(self, state: Sum | None, record: Record) -> Taken[Sum]:
            raise KeyError(f"a mistake of ours: {state} {record}")

    desk = Desk(Broken)
    with pytest.raises(KeyError):
        desk.gets(0, 1)
    assert desk.sent == []


def test_invalid_is_what_it_raises_for() -> None:
    with pytest.raises(Invalid):
        Desk().core.take(None, Record("t", 0, 0, 0, b"a", b"x"))
