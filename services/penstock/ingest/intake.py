"""Intake: producers' topics to `P.features` and `P.labels`. Keeps no state: a record's fate is its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.contracts.records import FeatureRow
from penstock.ingest.domain.intake import event_paths, label_paths, take_events, take_labels
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.broker import Message, Polled, Record
from penstock.runtime.catalog import Catalog
from penstock.runtime.codec import RowCodec
from penstock.runtime.deadletter import Refused
from penstock.runtime.loop import Staged
from penstock.runtime.task import CatalogTask
from penstock.runtime.wire import Wire


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A producers' topic as one pipeline reads it."""

    pipeline: Pipeline
    wire: Wire
    events: bool
    rows: RowCodec[FeatureRow]


class IntakeTask(CatalogTask):
    """Raw records become feature rows and labels, or dead letters."""

    name = "intake"

    def __init__(self, catalog: Catalog) -> None:
        super().__init__(catalog, service="ingest")
        self._sources = self._compile()

    def refresh(self) -> bool:
        if changed := super().refresh():
            self._sources = self._compile()
        return changed

    def topics(self) -> Sequence[str]:
        return sorted(self._sources)

    def dead_letters(self, topic: str) -> str:
        """Of the pipeline that reads the topic; of the first by name where several do."""
        return self.names.dead_letters("ingest", self._sources[topic][0].pipeline.name)

    def process(self, polled: Polled) -> Staged:
        messages: list[Message] = []
        refused: list[Refused] = []
        by_topic: defaultdict[str, list[Record]] = defaultdict(list)
        for record in polled.records:
            by_topic[record.topic].append(record)
        for topic, records in by_topic.items():
            for source in self._sources.get(topic, ()):
                take = self._events if source.events else self._labels
                take(source, records, messages, refused)
        return Staged(messages=messages, refused=refused)

    def _events(
        self, source: _Source, records: list[Record], messages: list[Message], refused: list[Refused]
    ) -> None:
        columns = source.wire.read(records)
        taken = [records[place] for place in columns.places]
        intake = take_events(source.pipeline, columns.values, [record.timestamp for record in taken])
        refused += [Refused(records[place], why) for place, why in columns.refused.items()]
        refused += [Refused(taken[place], why, "validate") for place, why in intake.refused.items()]
        topic = self.names.of("features", source.pipeline.name)
        payloads = source.rows.encode(intake.heads(), intake.matrix)
        messages += [
            Message(topic, payload, name.encode()) for name, payload in zip(intake.ids, payloads, strict=True)
        ]

    def _labels(
        self, source: _Source, records: list[Record], messages: list[Message], refused: list[Refused]
    ) -> None:
        columns = source.wire.read(records)
        taken = [records[place] for place in columns.places]
        intake = take_labels(source.pipeline, columns.values, [record.timestamp for record in taken])
        refused += [Refused(records[place], why) for place, why in columns.refused.items()]
        refused += [Refused(taken[place], why, "validate") for place, why in intake.refused.items()]
        topic = self.names.of("labels", source.pipeline.name)
        messages += [Message(topic, self.codec.encode(label), label.id.encode()) for label in intake.labels]

    def _compile(self) -> dict[str, list[_Source]]:
        sources: defaultdict[str, list[_Source]] = defaultdict(list)
        for _, pipeline in sorted(self.catalog.pipelines.items()):
            rows = self.codec.rows(
                FeatureRow, pipeline.name, pipeline.features_digest, pipeline.feature_names
            )
            for origin, events in ((pipeline.events, True), (pipeline.labels, False)):
                paths = event_paths(pipeline) if events else label_paths(pipeline)
                wire = Wire(origin.format, paths)
                sources[origin.topic].append(_Source(pipeline=pipeline, wire=wire, events=events, rows=rows))
        return dict(sources)
