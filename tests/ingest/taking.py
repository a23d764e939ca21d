"""Intake with one pipeline and what it wrote, for tests of what becomes of producers' records."""

from __future__ import annotations

from typing import Any

import orjson

from penstock.contracts.records import DeadLetter, FeatureRow, Label, RecordsTaken
from penstock.ingest.domain.intake import Intake, event_paths, take_events
from penstock.ingest.intake import IntakeTask
from penstock.ingest.service import TASKS
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.broker import Message
from penstock.runtime.deadletter import HEADER
from tests.scenarios.fragile import FragileBroker
from tests.scenarios.system import CHURN, HOUR, System

KEY = b"a key of sixteen"
EVENTS: dict[str, Any] = dict(CHURN["events"])  # type: ignore[call-overload] # a mapping
LABELS: dict[str, Any] = dict(CHURN["labels"])  # type: ignore[call-overload] # a mapping
PERSON = "ann@example.com"


def spec(*, events: dict[str, object] | None = None, **changes: object) -> dict[str, Any]:
    """The churn pipeline, with other events, features or marks."""
    return {**CHURN, "events": {**EVENTS, **(events or {})}, **changes}


def event(name: object, at: int | str = HOUR, **more: object) -> dict[str, object]:
    return {"event_id": name, "at": at, "age": 40, "plan": "plus", **more}


def taken(raw: dict[str, Any], *events: dict[str, object], written: int) -> Intake:
    """What becomes of events whose records were written then."""
    pipeline = Pipeline.read(raw)
    columns = {path: [each.get(path) for each in events] for path in event_paths(pipeline)}
    return take_events(pipeline, columns, [written] * len(events), key=KEY)


class World:
    """Intake, and other tasks of ingest where asked for."""

    def __init__(self, raw: dict[str, Any], *others: str) -> None:
        tasks = {
            "intake": lambda catalog, _: IntakeTask(catalog, key=KEY),
            **{each: TASKS[each] for each in others},
        }
        self.system = System(tasks, broker=FragileBroker)
        self.pipeline = self.system.apply(raw)

    @property
    def broker(self) -> FragileBroker:
        assert isinstance(self.system.broker, FragileBroker)
        return self.system.broker

    def event(self, value: object) -> None:
        self._write("crm.events", value)

    def label(self, value: object) -> None:
        self._write("crm.outcomes", value)

    def _write(self, topic: str, value: object) -> None:
        body = value if isinstance(value, bytes) else orjson.dumps(value)
        self.broker.append(Message(topic, body, PERSON.encode(), (("user", PERSON.encode()),), 0))

    def rows(self) -> list[FeatureRow]:
        self.system.settle()
        return self.system.events("features", "churn")

    def labels(self) -> list[Label]:
        self.system.settle()
        return self.system.events("labels", "churn")

    def told(self) -> list[RecordsTaken]:
        self.system.settle()
        return self.system.events("quality", "churn")

    def letters(self) -> list[DeadLetter]:
        self.system.settle()
        records = self.broker.records("penstock.churn.dead-letters.ingest")
        return [self.system.decode(dict(record.headers)[HEADER]) for record in records]
