"""The run: the history fed to the whole system under a virtual clock, in one thread.

Events and labels arrive in the order of event time, a step at a time; between two steps the system comes to
rest, so it judges, trains and routes before the next rows arrive, however fast the machine is.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from penstock.cli.applied import whole
from penstock.cli.backtest.feed import step_length, steps
from penstock.cli.backtest.labels import first_of_each_id
from penstock.cli.backtest.scores import Scores
from penstock.cli.backtest.system import MemorySystem
from penstock.cli.controllog import ControlLog
from penstock.contracts import records as r
from penstock.kernel.blocks import base_block
from penstock.onnx import judged_here
from penstock.runtime.broker import Topic, TopicPartition
from penstock.runtime.catalog import apply_messages
from penstock.runtime.codec import Codec
from penstock.runtime.memory import MemoryBroker
from penstock.runtime.topics import topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from penstock.cli.backtest.feed import Arrival
    from penstock.cli.backtest.history import Row
    from penstock.kernel.pipeline import Pipeline

PREFIX: Final = "penstock."
_READ: Final = 10_000
_SERVICES: Final = ("ingest", "inference")
"""Whose dead letters belong to a pipeline."""


@dataclass(slots=True)
class Clock:
    """Processing time, which here is the event time of what arrives."""

    now: int = 0

    def __call__(self) -> int:
        return self.now


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What came of it.

    Args:
        scores: what each version said of each row.
        decisions: of the governor, in order.
        registered: the versions, in order.
        manifests: what they are made of, by version.
        alarms: performance alarms of any version, in order.
        letters: why records could not be processed.
    """

    scores: Scores
    decisions: Sequence[Any]
    registered: Sequence[r.VersionRegistered]
    manifests: dict[int, r.Manifest]
    alarms: Sequence[r.PerformanceDegraded]
    letters: Sequence[str]


class Drive:
    """A cluster in memory with one applied pipeline.

    Topics have one partition: nothing here runs side by side, and decisions do not depend on it.

    Args:
        pipeline: with its categories, its events and labels as JSON.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.clock = Clock()
        self.broker = MemoryBroker(now=self.clock)
        self.pipeline = pipeline
        wanted = [
            *topics(PREFIX),
            *topics(PREFIX, pipeline=pipeline.name, horizon=pipeline.labels.horizon),
            *(Topic(name=each.topic, partitions=1) for each in (pipeline.events, pipeline.labels)),
        ]
        self.broker.create([replace(topic, partitions=1) for topic in wanted])
        self.system = MemorySystem(self.broker, prefix=PREFIX)
        self.names = self.system.names
        for message in apply_messages(self.names, pipeline, Codec(), partitions=1, now=0):
            self.broker.append(message)

    def run(
        self,
        rows: Sequence[Row],
        fed: Sequence[Arrival],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> Ran:
        """Feed the history.

        Args:
            rows: of the history.
            fed: the same with its labels, in the order in which it arrives.
            progress: is told after each step how many arrivals there were, of how many.
        """
        scores = Scores(first_of_each_id(rows), rows=len(rows), outputs=self.pipeline.outputs)
        horizon = self.pipeline.labels.horizon
        length = step_length(rows, base=base_block(self.pipeline.policy, horizon=horizon), horizon=horizon)
        count = 0
        with _few_collections(), judged_here():
            self.clock.now = fed[0].time
            self.system.settle()
            predictions = self._predictions()
            for step in steps(fed, length):
                self.clock.now = step[-1].time
                for each in step:
                    self.broker.append(each.message)
                self.system.settle()
                scores.take(next(predictions))
                count += len(step)
                if progress is not None:
                    progress(count, len(fed))
        return self._ran(scores)

    def _predictions(self) -> Iterator[list[r.Prediction]]:
        """What has been predicted since the last time."""
        where = TopicPartition(self.names.of("predictions", self.pipeline.name), 0)
        reader = self.broker.reader({where: 0})
        codec = self.system.codec()
        while True:
            found: list[r.Prediction] = []
            while reader.behind:
                values = [codec.decode(record.value or b"").value for record in reader.poll(_READ, 0).records]
                found += [value for value in values if isinstance(value, r.Prediction)]
            yield found

    def _ran(self, scores: Scores) -> Ran:
        log = ControlLog(self.broker, self.names)
        models = [entry.event for entry in log.of("models", r.ModelRegistered)]
        return Ran(
            scores=scores,
            decisions=[entry.event for entry in log.all("decisions")],
            registered=[entry.event for entry in log.of("lifecycle", r.VersionRegistered)],
            manifests={each.version: each.manifest for each in models},
            alarms=[entry.event for entry in log.of("evidence", r.PerformanceDegraded)],
            letters=[
                dict(record.headers)["__connect.errors.exception.message"].decode()
                for service in _SERVICES
                for record in whole(self.broker, self.names.dead_letters(service, self.pipeline.name))
            ],
        )


@contextmanager
def _few_collections() -> Iterator[None]:
    """Python's search for cycles finds none here and walks through the whole log each time: seldom, then."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
