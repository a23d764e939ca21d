"""Intake: producers' topics to `P.features` and `P.labels`, and to `P.quality` what became of them.

A record's fate is its own, but for events that come again: the ids of the last ones are remembered, in memory
alone. What a restart has forgotten becomes a second prediction of its id, of which the join makes nothing.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from penstock.contracts.records import FeatureRow, RecordsTaken, RuleCount
from penstock.ingest.domain.counts import refusals, rule_counts
from penstock.ingest.domain.intake import (
    event_paths,
    label_paths,
    number_paths,
    take_events,
    take_labels,
    word_paths,
)
from penstock.ingest.domain.repeats import Repeats
from penstock.ingest.domain.veil import veiled
from penstock.kernel.errors import Invalid
from penstock.kernel.pii import Pii, no_key
from penstock.kernel.pipeline import Pipeline
from penstock.runtime import logs
from penstock.runtime.broker import Message, Polled, Position, Record, TopicPartition
from penstock.runtime.catalog import Catalog
from penstock.runtime.codec import RowCodec
from penstock.runtime.columnar import write_rows
from penstock.runtime.deadletter import Refused
from penstock.runtime.errors import NotYet
from penstock.runtime.loop import Staged
from penstock.runtime.records import Alike, column, pick
from penstock.runtime.settings import WrongSetting
from penstock.runtime.task import CatalogTask
from penstock.runtime.wire import Registries, Wire

_PAUSES: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds that a topic rests while something its records need is still on its way: longer each time."""


@dataclass(slots=True)
class _Outputs:
    """What a batch becomes."""

    rows: list[Alike] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A producers' topic as one pipeline reads it."""

    pipeline: Pipeline
    topic: str
    wire: Wire
    events: bool
    rows: RowCodec[FeatureRow]


class IntakeTask(CatalogTask):
    """Raw records become feature rows and labels, dead letters, or nothing where they came before.

    Args:
        catalog: of the pipelines.
        key: of the hashes of personal data.
        registries: of the schemas that producers' records are written with.
        clock: seconds, from anywhere.

    Raises:
        WrongSetting: a pipeline asks for hashes, and there is no key.
    """

    name = "intake"
    limit = 20_000  # at a hundred thousand rows a second a commit each 200 ms

    def __init__(
        self,
        catalog: Catalog,
        *,
        key: bytes | None = None,
        registries: Registries | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(catalog, service="ingest")
        self._key = key
        self._registries = registries or Registries()
        self._clock = clock
        self._mine: frozenset[TopicPartition] = frozenset()
        self._resting: dict[str, tuple[int, float]] = {}
        self._log = logs.get(task=self.name)
        self._repeats: dict[str, Repeats] = {}
        self._marks: dict[str, Pii] = {}
        for pipeline in catalog.pipelines.values():
            if pipeline.hashes and key is None:
                raise WrongSetting(no_key(pipeline.name), field="PENSTOCK_PII_KEY_FILE", reason="setting")
        self._sources = self._compile()

    def refresh(self) -> bool:
        if changed := super().refresh():
            self._sources = self._compile()
        return changed

    def restore(self, positions: Mapping[TopicPartition, Position]) -> Iterator[None]:
        """What was in hand may come again, and is no repeat of itself then."""
        self._mine = frozenset(positions)
        for repeats in self._repeats.values():
            repeats.drop()
        yield from ()

    def committed(self, positions: Mapping[TopicPartition, Position]) -> None:  # noqa: ARG002 - as above
        """What was written is there: from now on it may be repeated."""
        for repeats in self._repeats.values():
            repeats.adopt()

    def topics(self) -> Sequence[str]:
        return sorted(self._sources)

    def held(self) -> frozenset[TopicPartition]:
        """The partitions of topics that wait for a schema: the others go on meanwhile."""
        now = self._clock()
        resting = {topic for topic, (_, until) in self._resting.items() if now < until}
        return frozenset(where for where in self._mine if where.topic in resting)

    def dead_letters(self, topic: str) -> str:
        """Of the pipeline that reads the topic; of the first by name where several do."""
        return self.names.dead_letters("ingest", self._sources[topic][0].pipeline.name)

    def process(self, polled: Polled) -> Staged:
        out = _Outputs()
        places: defaultdict[str, list[int]] = defaultdict(list)
        for place, topic in enumerate(column(polled.records, "topic")):
            places[topic].append(place)
        for topic, there in places.items():
            records = pick(polled.records, there)
            try:
                for source in self._sources.get(topic, ()):
                    take = self._events if source.events else self._labels
                    take(source, records, out)
            except NotYet:
                times = self._resting.get(topic, (0, 0.0))[0]
                pause = _PAUSES[min(times, len(_PAUSES) - 1)]
                self._resting[topic] = times + 1, self._clock() + pause
                raise
            self._resting.pop(topic, None)
        return Staged(messages=out.messages, rows=out.rows, refused=out.refused)

    def _events(self, source: _Source, records: Sequence[Record], out: _Outputs) -> None:
        pipeline, columns = source.pipeline, source.wire.read(records)
        taken = pick(records, columns.places)
        intake = take_events(
            pipeline,
            columns.values,
            column(taken, "timestamp"),
            key=self._key,
            repeats=self._repeats[pipeline.name],
        )
        self._refuse(source, records, columns.refused, "decode", out)
        self._refuse(source, taken, intake.refused, "validate", out)
        topic = self.names.of("features", pipeline.name)
        payloads = write_rows(
            source.rows,
            ids=intake.ids,
            times=intake.times,
            cleared=intake.cleared,
            flags=intake.flags,
            matrix=intake.matrix,
        )
        out.rows.append(Alike(topic, [name.encode() for name in intake.ids], payloads))
        out.messages.append(
            self._told(
                source,
                records,
                taken=len(payloads),
                duplicates=intake.duplicates,
                rules=rule_counts(refusals(columns.refused.values()), intake.rules),
            )
        )

    def _labels(self, source: _Source, records: Sequence[Record], out: _Outputs) -> None:
        pipeline, columns = source.pipeline, source.wire.read(records)
        taken = pick(records, columns.places)
        intake = take_labels(pipeline, columns.values, column(taken, "timestamp"), key=self._key)
        self._refuse(source, records, columns.refused, "decode", out)
        self._refuse(source, taken, intake.refused, "validate", out)
        topic = self.names.of("labels", pipeline.name)
        keys = [label.id.encode() for label in intake.labels]
        out.rows.append(Alike(topic, keys, list(map(self.codec.encode, intake.labels))))
        rules = rule_counts(refusals(columns.refused.values()), intake.rules)
        out.messages.append(self._told(source, records, taken=len(intake.labels), duplicates=0, rules=rules))

    def _refuse(
        self,
        source: _Source,
        records: Sequence[Record],
        found: Mapping[int, Invalid],
        stage: str,
        out: _Outputs,
    ) -> None:
        """Add what cannot be processed to the dead letters."""
        marks = self._marks[source.topic]
        out.refused += [
            Refused(records[place], veiled(marks, why), stage, bool(marks)) for place, why in found.items()
        ]

    def _told(
        self,
        source: _Source,
        records: Sequence[Record],
        *,
        taken: int,
        duplicates: int,
        rules: tuple[RuleCount, ...],
    ) -> Message:
        """What became of the records of one producers' topic in this transaction."""
        told = RecordsTaken(
            topic=source.topic,
            events=source.events,
            seen=len(records),
            taken=taken,
            duplicates=duplicates,
            rules=rules,
        )
        topic = self.names.of("quality", source.pipeline.name)
        return Message(topic, self.codec.encode(told), source.topic.encode())

    def _readable(self) -> Iterator[Pipeline]:
        """The pipelines by name, but for those whose hashes lack their key: they wait, the others go on."""
        for _, pipeline in sorted(self.catalog.pipelines.items()):
            if pipeline.hashes and self._key is None:
                self._log.error("pipeline_waits_for_key", pipeline=pipeline.name, why=no_key(pipeline.name))
            else:
                yield pipeline

    def _wire(self, pipeline: Pipeline, *, events: bool) -> Wire:
        if not events:
            return Wire(pipeline.labels.format, label_paths(pipeline), self._registries)
        return Wire(
            pipeline.events.format,
            event_paths(pipeline),
            self._registries,
            numbers=number_paths(pipeline),
            words=word_paths(pipeline),
        )

    def _compile(self) -> dict[str, list[_Source]]:
        sources: defaultdict[str, list[_Source]] = defaultdict(list)
        before, self._repeats = self._repeats, {}
        for pipeline in self._readable():
            window, known = pipeline.events.duplicates, before.get(pipeline.name)
            if known is None or known.window != window:
                known = Repeats(window)
            self._repeats[pipeline.name] = known
            rows = self.codec.rows(
                FeatureRow, pipeline.name, pipeline.features_digest, pipeline.feature_names
            )
            for origin, events in ((pipeline.events, True), (pipeline.labels, False)):
                source = _Source(
                    pipeline=pipeline,
                    topic=origin.topic,
                    wire=self._wire(pipeline, events=events),
                    events=events,
                    rows=rows,
                )
                sources[origin.topic].append(source)
        # What one pipeline holds to be personal is not in the letters of another that reads the same topic.
        self._marks = {
            topic: tuple(mark for each in readers for mark in each.pipeline.pii)
            for topic, readers in sources.items()
        }
        return dict(sources)
