"""Stream scoring: `P.features` to `P.predictions`, exactly once, by every version of the route."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from penstock.contracts.records import FeatureRow, Origin, Prediction
from penstock.inference.domain import Serving, predictions
from penstock.inference.explaining import sampled
from penstock.inference.tables import Tables
from penstock.kernel.errors import Invalid
from penstock.onnx import MAX_BYTES
from penstock.runtime.blobs import read_blob
from penstock.runtime.broker import Message, TopicPartition
from penstock.runtime.deadletter import Refused
from penstock.runtime.errors import NotYet
from penstock.runtime.loop import Staged
from penstock.runtime.task import CatalogTask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from penstock.contracts.records import ModelRegistered
    from penstock.inference.loader import Shelf
    from penstock.inference.tally import Tally
    from penstock.runtime.broker import Broker, Polled, Position, Record
    from penstock.runtime.catalog import Catalog
    from penstock.runtime.codec import RowCodec

SERVICE: Final = "inference"


class StreamTask(CatalogTask):
    """Scores rows, and keeps the shelf of models in step with the registry while it does.

    The route epoch that a partition was last scored under stands beside its committed offset: whoever takes
    the partition over waits until its own routes have come as far, so no row is answered by an older route
    than the one before it.
    """

    name = SERVICE

    def __init__(self, catalog: Catalog, broker: Broker, shelf: Shelf, tally: Tally) -> None:
        super().__init__(catalog, service=SERVICE)
        self._broker = broker
        self._shelf = shelf
        self._tally = tally
        self._tables = Tables(broker, catalog)
        self._epochs: dict[TopicPartition, int] = {}
        self._announce()
        self._follow()

    def refresh(self) -> bool:
        if changed := super().refresh():
            self._announce()
        self._tables.refresh()
        self._follow()
        return changed

    def close(self) -> None:
        self._tables.close()

    def topics(self) -> Sequence[str]:
        return self.pipeline_topics("features")

    def restore(self, positions: Mapping[TopicPartition, Position]) -> Iterator[None]:
        """The epoch each partition has been scored under."""
        self._epochs = {where: _epoch(position.metadata) for where, position in positions.items()}
        yield from ()

    def held(self) -> frozenset[TopicPartition]:
        """Partitions whose pipeline cannot answer yet, or only by an older route than scored them last."""
        epochs = self._epochs.items()
        return frozenset(where for where, epoch in epochs if self._serving(where.topic, epoch) is None)

    def process(self, polled: Polled) -> Staged:
        by_topic: defaultdict[str, list[Record]] = defaultdict(list)
        for record in polled.records:
            by_topic[record.topic].append(record)
        messages: list[Message] = []
        refused: list[Refused] = []
        metadata: dict[TopicPartition, str] = {}
        for topic, records in by_topic.items():
            partitions = {TopicPartition(topic, record.partition) for record in records}
            serving = self._serving(topic, max(self._epochs.get(where, 0) for where in partitions))
            if serving is None:
                raise NotYet(f"{topic} came back to a route that is not known here yet")
            messages += self._score(serving, records, refused)
            for where in partitions:
                self._epochs[where] = serving.route.epoch
                metadata[where] = str(serving.route.epoch)
        return Staged(messages=messages, refused=refused, metadata=metadata)

    def _serving(self, topic: str, epoch: int) -> Serving | None:
        state = self._shelf.directory.get(self.names.pipeline(topic))
        return state if isinstance(state, Serving) and state.route.epoch >= epoch else None

    def _score(self, serving: Serving, records: Sequence[Record], refused: list[Refused]) -> list[Message]:
        """The records' predictions; rows of different layouts are scored apart, each in its own order."""
        layouts: defaultdict[str, list[tuple[Record, FeatureRow]]] = defaultdict(list)
        codecs: dict[str, RowCodec[Any]] = {}
        for record in records:
            try:
                head, rows = self._decoded(record)
            except Invalid as why:
                refused.append(Refused(record, why))
                continue
            layouts[rows.layout].append((record, head))
            codecs[rows.layout] = rows
        messages: list[Message] = []
        for layout, taken in layouts.items():
            messages += self._score_layout(serving, codecs[layout], taken)
        return messages

    def _decoded(self, record: Record) -> tuple[FeatureRow, RowCodec[Any]]:
        if record.value is None:
            raise Invalid("the record has no value", reason="empty")
        head, rows = self.codec.decode(record.value)
        if not isinstance(head, FeatureRow) or rows is None:
            raise Invalid(f"a {type(head).__name__} is no feature row", reason="unexpected")
        return head, rows

    def _score_layout(
        self, serving: Serving, rows: RowCodec[Any], taken: Sequence[tuple[Record, FeatureRow]]
    ) -> list[Message]:
        payloads = [record.value or b"" for record, _ in taken]
        heads = [head for _, head in taken]
        ids = [head.id for head in heads]
        matrix = rows.matrix(payloads)
        scored = serving.score(ids, rows.names, matrix)
        name = serving.pipeline.name
        self._tally.add(name, Origin.STREAM, scored.answers)
        writer = self.codec.rows(Prediction, name, rows.layout, rows.names)
        topic = self.names.of("predictions", name)
        found = predictions(
            serving,
            scored,
            origin=Origin.STREAM,
            ids=ids,
            times=[head.time for head in heads],
            cleared=[head.cleared for head in heads],
            attributions=sampled(serving, scored, ids, rows.names, matrix),
        )
        return [
            # The features go on as they came, byte for byte; the partition is theirs too.
            Message(
                topic,
                writer.with_head(prediction, rows.features_of(payload)),
                prediction.id.encode(),
                (),
                record.partition,
            )
            for prediction, payload, (record, _) in zip(found, payloads, taken, strict=True)
        ]

    def _announce(self) -> None:
        """Use the schemas of predictions here, so that the catalog publishes them for the gRPC side too."""
        for name, pipeline in self.catalog.pipelines.items():
            self.codec.rows(Prediction, name, pipeline.features_digest, pipeline.feature_names)

    def _follow(self) -> None:
        self._shelf.update(self.catalog.pipelines, self._tables.routes, self._tables.models, self._fetch)

    def _fetch(self, registered: ModelRegistered) -> bytes:
        manifest = registered.manifest
        return read_blob(
            self._broker,
            self.names.of("chunks"),
            manifest.digest,
            size=manifest.size,
            largest=MAX_BYTES,
        )


def _epoch(metadata: str) -> int:
    """What a committed offset remembers; nothing before the first commit."""
    return int(metadata) if metadata.isdecimal() else 0
