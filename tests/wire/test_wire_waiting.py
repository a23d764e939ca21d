"""Intake while a schema is on its way: it waits, other topics go on, and in the end nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from penstock.contracts.records import DeadLetter
from penstock.ingest.intake import IntakeTask
from penstock.runtime.broker import Message
from penstock.runtime.deadletter import HEADER
from penstock.runtime.wire import Registries
from tests.scenarios.system import CHURN, System
from tests.wire.fake import FakeRegistry, registry
from tests.wire.written import body, numbered

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENT: dict[str, Any] = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "age", "type": "int"},
    ],
}
OTHER: dict[str, Any] = {
    **CHURN,
    "pipeline": "other",
    "events": {"topic": "other.events", "id": "event_id", "time": "at"},
    "labels": {**dict(CHURN["labels"]), "topic": "other.outcomes"},  # type: ignore[call-overload] # a mapping
}


class World:
    """Two pipelines in one intake: one whose schemas a registry has, one with plain JSON."""

    def __init__(self, fake: FakeRegistry) -> None:
        self.now = 0.0
        self.fake = fake
        registries = Registries(clock=lambda: self.now)
        self.system = System(
            {"intake": lambda catalog, _: IntakeTask(catalog, registries=registries, clock=lambda: self.now)}
        )
        events = {"topic": "crm.events", "id": "event_id", "time": "at", "format": {"confluent": fake.url}}
        self.system.apply({**CHURN, "events": events})
        self.system.apply(OTHER)

    def event(self, name: str, schema: int) -> None:
        value = numbered(schema, body(EVENT, {"event_id": name, "at": 5_000_000, "age": 41}))
        self.system.broker.append(Message("crm.events", value, None, (), 0))

    def pass_by(self, seconds: float) -> None:
        """As much time, in which intake goes on."""
        until = self.now + seconds
        while True:
            for _ in range(4):  # a try, its waiting, its beginning anew, and what was held back
                self.system.step("intake")
            if self.now >= until:
                return
            self.now = min(until, self.now + 0.25)

    def rows(self, pipeline: str) -> list[str]:
        return [row.id for row in self.system.events("features", pipeline)]

    def letters(self) -> list[DeadLetter]:
        records = self.system.broker.records("penstock.churn.dead-letters.ingest")
        return [self.system.decode(dict(record.headers)[HEADER]) for record in records]


@pytest.fixture
def world() -> Iterator[World]:
    with registry() as fake:
        yield World(fake)


def test_a_schema_that_comes_later_loses_nothing_and_holds_up_nobody_else(world: World) -> None:
    world.fake.knows(1, EVENT)
    world.event("before", 1)
    world.event("early", 7)
    world.system.produce("other.events", {"event_id": "free", "at": 5000, "age": 30})
    world.pass_by(3)
    assert (world.rows("other"), world.rows("churn")) == (["free"], [])
    world.system.produce("other.events", {"event_id": "free too", "at": 5000, "age": 30})
    world.pass_by(1)
    assert world.rows("other") == ["free", "free too"]
    world.fake.knows(7, EVENT)
    world.event("after", 1)
    world.pass_by(5)
    assert world.rows("churn") == ["before", "early", "after"]
    assert world.letters() == []


def test_an_id_that_stays_unknown_is_a_dead_letter_and_its_retry_is_read(world: World) -> None:
    world.event("lost", 7)
    world.pass_by(9)
    assert world.letters() == []
    world.pass_by(10)
    [letter] = world.letters()
    assert (letter.reason, letter.stage, letter.field) == ("unknown_schema", "decode", "")
    assert letter.retry
    world.fake.knows(7, EVENT)
    world.pass_by(40)
    world.event("lost", 7)
    world.pass_by(1)
    assert world.rows("churn") == ["lost"]


def test_a_registry_that_is_away_makes_no_dead_letters(world: World) -> None:
    world.fake.otherwise = (503, b"")
    world.event("patient", 7)
    world.pass_by(120)
    assert (world.rows("churn"), world.letters()) == ([], [])
    world.fake.knows(7, EVENT)
    world.pass_by(10)
    assert world.rows("churn") == ["patient"]
    assert len(world.fake.asked) < 200
