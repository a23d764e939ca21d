"""The whole system on the broker in memory: tasks stepped in one thread until none has anything to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from penstock.cli.backtest.system import TASKS, MakeTask, MemorySystem
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.broker import Message, Topic
from penstock.runtime.catalog import apply_messages
from penstock.runtime.codec import Codec
from penstock.runtime.loop import Task
from penstock.runtime.memory import MemoryBroker
from penstock.runtime.telemetry import off
from penstock.runtime.topics import topics

PREFIX = "penstock."
DAY = 86_400_000
HOUR = 3_600_000

# What can do without rows that were scored; the rest is in TASKS.
ALL: dict[str, MakeTask] = {
    name: make for name, make in TASKS.items() if name not in ("inference", "monitor")
}

CHURN: dict[str, object] = {
    "pipeline": "churn",
    "task": "binary",
    "events": {"topic": "crm.events", "id": "event_id", "time": "at"},
    "labels": {
        "topic": "crm.outcomes",
        "id": "event_id",
        "time": "at",
        "value": "churned",
        "horizon": "36h",
    },
    "features": {"age": {"number": {"max": 150}}, "plan": {"category": ["free", "plus", "pro"]}},
}


class System:
    """A cluster with topics, and the tasks that run on it."""

    def __init__(
        self, tasks: Mapping[str, MakeTask] | None = None, *, broker: type[MemoryBroker] = MemoryBroker
    ) -> None:
        self.now = 4_000_000_000_000  # later than any event time here: no record is from the future
        self.broker = broker(now=self._tick)
        self.codec = Codec()
        self._learned: set[bytes | None] = set()
        self.broker.create(topics(PREFIX))
        self._system = MemorySystem(self.broker, prefix=PREFIX, tasks=tasks or ALL, telemetry=off)
        self.names = self._system.names

    def _tick(self) -> int:
        self.now += 1
        return self.now

    def apply(self, raw: Mapping[str, object]) -> Pipeline:
        """What `penstock apply` does, without the file."""
        pipeline = Pipeline.read(raw)
        self.broker.create(topics(PREFIX, pipeline=pipeline.name, horizon=pipeline.labels.horizon))
        self.broker.create(
            [Topic(name=each.topic, partitions=2) for each in (pipeline.events, pipeline.labels)]
        )
        for message in apply_messages(
            self.names, pipeline, self.codec, partitions=self.broker.topics()["penstock.pipelines"], now=0
        ):
            self.broker.append(message)
        return pipeline

    def restart(self, name: str) -> None:
        """A new process in the same slot: the old one is fenced, what it had in hand is lost."""
        self._system.restart(name)

    def settle(self) -> None:
        """Run until nobody has anything to do."""
        self._system.settle()

    def step(self, name: str) -> bool:
        """One round of one task; whether anything was done."""
        return self._system.step(name)

    def task(self, name: str) -> Task:
        return self._system.task(name)

    def produce(self, topic: str, *records: Mapping[str, object] | bytes) -> None:
        """JSON records, or bytes as they are."""
        for record in records:
            value = record if isinstance(record, bytes) else orjson.dumps(record)
            self.broker.append(Message(topic, value))

    def events(self, topic: str, pipeline: str | None = None) -> list[Any]:
        """What stands on a topic, decoded."""
        return [
            self.decode(record.value or b"") for record in self.broker.records(self.names.of(topic, pipeline))
        ]

    def decode(self, payload: bytes) -> Any:
        for record in self.broker.records("penstock.schemas"):
            if record.key not in self._learned:
                self.codec.learn(record.value or b"")
                self._learned.add(record.key)
        return self.codec.decode(payload).value
