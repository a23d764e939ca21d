"""The whole system on the broker in memory: tasks stepped in one thread until none has anything to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from penstock.governor.task import GovernorTask
from penstock.ingest.service import TASKS
from penstock.kernel.pipeline import Pipeline
from penstock.registry.task import RegistryTask
from penstock.runtime.broker import Broker, Message, Topic
from penstock.runtime.catalog import Catalog, Names, apply_messages
from penstock.runtime.codec import Codec
from penstock.runtime.loop import Loop, Task, settle
from penstock.runtime.memory import MemoryBroker
from penstock.runtime.telemetry import off
from penstock.runtime.topics import topics
from penstock.trainer.inline import Inline
from penstock.trainer.task import TrainerTask

PREFIX = "penstock."
DAY = 86_400_000
HOUR = 3_600_000

MakeTask = Callable[[Catalog, Broker], Task]

ALL: dict[str, MakeTask] = {
    **TASKS,
    "governor": GovernorTask,
    "trainer": lambda catalog, broker: TrainerTask(catalog, broker, Inline()),
    "registry": RegistryTask,
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
        self.names = Names(PREFIX)
        self.codec = Codec()
        self.broker.create(topics(PREFIX))
        self._makers = dict(tasks or ALL)
        self._loops: dict[str, Loop] = {}

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
        catalog = Catalog(self.broker, self.names)
        self._loops[name] = Loop(
            self._makers[name](catalog, self.broker),
            self.broker,
            service=name,
            prefix=PREFIX,
            slot="0",
            telemetry=off(),
        )

    def settle(self) -> None:
        """Run until nobody has anything to do."""
        for name in self._makers:
            if name not in self._loops:
                self.restart(name)
        settle([loop.step for loop in self._loops.values()])

    def step(self, name: str) -> bool:
        if name not in self._loops:
            self.restart(name)
        return self._loops[name].step()

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
            self.codec.learn(record.value or b"")
        return self.codec.decode(payload).value
