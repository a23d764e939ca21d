"""The monitor's core as its shells drive it: decode, judge, encode; beside that, what it follows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from penstock.contracts.records import (
    ModelRegistered,
    Source,
    Summary,
    VersionRegistered,
    VersionStaged,
)
from penstock.kernel.errors import Invalid
from penstock.monitor.domain.features import Reference
from penstock.monitor.domain.judge import World, judge
from penstock.monitor.domain.state import State, dump, load
from penstock.monitor.domain.versions import Life, learn
from penstock.monitor.ledger import Taken
from penstock.runtime import logs
from penstock.runtime.broker import Broker, Record
from penstock.runtime.catalog import Catalog
from penstock.runtime.codec import UnknownSchema
from penstock.runtime.errors import NotYet
from penstock.runtime.fold import Fold

FOLLOWED = ("lifecycle", "models")


class MonitorCore:
    """Summaries become evidence.

    Raises:
        Unavailable: no broker answers, or its topics are not there yet.
    """

    def __init__(self, catalog: Catalog, broker: Broker) -> None:
        self._catalog = catalog
        self._broker = broker
        self._log = logs.get()
        self._lives: defaultdict[str, dict[int, Life]] = defaultdict(dict)
        self._references: defaultdict[str, dict[int, Reference]] = defaultdict(dict)
        self._partitions: dict[str, int] = {}
        self._worlds: dict[str, World] = {}
        self._unread: list[Record] = []
        self._fold = Fold(broker, [catalog.names.of(topic) for topic in FOLLOWED])
        self._learn(self._fold.catch_up())

    def refresh(self) -> None:
        """Follow lifecycle and models to their present ends.

        A decision is on the log before the rows that it is about: whoever reads as far as the log goes now
        knows each stage that a summary taken after this can be about, however the topics come in.
        """
        self._learn(self._fold.catch_up())
        if self._unread:  # their schema may have come
            self._learn(())

    def take(self, state: State | None, record: Record) -> Taken[State]:
        """One summary; see `ledger.Core`.

        Raises:
            Invalid: it is no summary, or one of a pipeline that was never applied.
            NotYet: its schema or its pipeline is still on its way.
        """
        summary = self._catalog.codec.decode(record.value or b"").value
        if not isinstance(summary, Summary):
            raise Invalid(f"a {type(summary).__name__} does not belong here", reason="unexpected")
        place = Source(topic=record.topic, partition=record.partition, offset=record.offset)
        after, evidence = judge(state or State(), summary, place, self._world(summary.pipeline))
        return Taken(
            after,
            [self._catalog.control_message("evidence", summary.pipeline, event) for event in evidence],
        )

    def dump(self, state: State) -> bytes:
        return dump(state)

    def load(self, payload: bytes) -> State:
        return load(payload)

    def close(self) -> None:
        self._fold.close()

    def _world(self, name: str) -> World:
        pipeline = self._catalog.pipelines.get(name)
        lives, references = self._lives[name], self._references[name]
        if pipeline is None:
            raise self._missing(name)
        world = self._worlds.get(name)
        # They are replaced when they change, never changed.
        if (
            world is None
            or world.pipeline is not pipeline
            or world.lives is not lives
            or world.references is not references
        ):
            outcomes = self._catalog.names.of("outcomes", name)
            world = World(
                pipeline=pipeline,
                partitions=self._count(outcomes),
                outcomes=outcomes,
                lives=lives,
                references=references,
            )
            self._worlds[name] = world
        return world

    def _count(self, topic: str) -> int:
        """Partitions of a topic; they never change."""
        if topic not in self._partitions:
            counts = self._broker.topics()
            if topic not in counts:
                raise NotYet(f"no topic {topic}")
            self._partitions[topic] = counts[topic]
        return self._partitions[topic]

    def _model(self, event: ModelRegistered) -> None:
        reference = Reference.of(event.manifest)
        if reference is not None:
            known = self._references[event.pipeline]
            self._references[event.pipeline] = {**known, event.version: reference}

    def _missing(self, name: str) -> Exception:
        """Why there is no such pipeline: it is still on its way, or it was taken away."""
        whole = Catalog(self._broker, self._catalog.names)  # read to its end, where the fold may be behind
        try:
            if name in whole.pipelines:
                return NotYet(f"the pipeline {name!r} is still on its way")
        finally:
            whole.close()
        return Invalid(f"there is no pipeline {name!r}", reason="unknown_pipeline")

    def _learn(self, records: Iterable[Record]) -> None:
        waiting, self._unread = self._unread, []
        events: defaultdict[str, list[VersionRegistered | VersionStaged]] = defaultdict(list)
        for record in (*waiting, *records):
            if record.value is None:
                continue
            if record.topic in {each.topic for each in self._unread}:
                self._unread.append(record)  # in their order: a version is registered before it is staged
                continue
            try:
                event = self._catalog.codec.decode(record.value).value
            except UnknownSchema:
                self._unread.append(record)
                continue
            except Invalid as why:
                self._log.error("unreadable", topic=record.topic, offset=record.offset, why=str(why))
                continue
            if isinstance(event, VersionRegistered | VersionStaged):
                events[event.pipeline].append(event)
            elif isinstance(event, ModelRegistered):
                self._model(event)
        for name, new in events.items():
            self._lives[name] = learn(self._lives[name], new)
