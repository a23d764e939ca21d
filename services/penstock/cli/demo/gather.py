"""Reads the topics of a pipeline for the demo's account: each record once, going on where it left off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.cli.demo.report import Seen
from penstock.contracts.records import FeatureRow, Prediction
from penstock.runtime.broker import TopicPartition
from penstock.runtime.catalog import Catalog, Names
from penstock.runtime.fold import read_range
from penstock.runtime.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from penstock.kernel.pipeline import Pipeline
    from penstock.runtime.broker import Broker, Record

    Take = Callable[[Record], None]


class Gatherer:
    """Gathers what the topics hold.

    Args:
        broker: where from.
        names: of the topics.
        pipeline: as it is applied.
    """

    def __init__(self, broker: Broker, names: Names, pipeline: Pipeline) -> None:
        self._broker = broker
        self._catalog = Catalog(broker, names)
        self._wire = Wire(pipeline.events.format, [pipeline.events.id])
        self._positions: dict[TopicPartition, int] = {}
        self.seen = Seen(horizon=pipeline.labels.horizon)
        name = pipeline.name
        self._takes: dict[str, Take] = {
            pipeline.events.topic: self._event,
            names.of("features", name): self._features,
            names.of("predictions", name): self._prediction,
            names.of("outcomes", name): self._outcome,
            names.dead_letters("ingest", name): self._dead_letter,
            names.dead_letters("inference", name): self._dead_letter,
        }
        self.predictions = names.of("predictions", name)

    def close(self) -> None:
        self._catalog.close()

    def gather(self, topics: Iterable[str] | None = None) -> Seen:
        """Read on to the present ends of these topics, or of all.

        Raises:
            Unavailable: the broker is away; what was read is kept, so call it again.
        """
        counts = self._broker.topics()
        chosen = self._takes if topics is None else topics
        ends = self._broker.ends(
            TopicPartition(topic, number) for topic in chosen for number in range(counts[topic])
        )
        ranges = {where: (self._positions.get(where, first), end) for where, (first, end) in ends.items()}
        for batch in read_range(self._broker, ranges):
            for record in batch:
                self._takes[record.topic](record)
                self._positions[TopicPartition(record.topic, record.partition)] = record.offset + 1
        return self.seen

    def _event(self, record: Record) -> None:
        for fields in self._wire.read([record]).rows():
            self.seen.events.update(map(str, fields.values()))

    def _features(self, record: Record) -> None:
        match self._decoded(record):
            case FeatureRow(id=name):
                self.seen.features.add(name)
            case _:
                pass

    def _prediction(self, record: Record) -> None:
        match self._decoded(record):
            case Prediction() as prediction:
                self.seen.predicted(prediction, record.partition)
            case _:
                pass

    def _outcome(self, record: Record) -> None:
        self.seen.became(self._decoded(record), record.partition)

    def _dead_letter(self, _record: Record) -> None:
        self.seen.dead_letters += 1

    def _decoded(self, record: Record) -> object:
        return self._catalog.codec.decode(record.value or b"").value
