"""Stream scoring: `P.features` to `P.predictions`, exactly once, by every version of the route.

What is asked by topic, on `P.requests`, is answered in the same transactions: see requests.py.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from penstock.contracts.records import Origin, Prediction
from penstock.inference.domain import Serving
from penstock.inference.explaining import sampled
from penstock.inference.requests import Requests
from penstock.inference.tables import Tables
from penstock.inference.writing import Rows as Scores
from penstock.inference.writing import Writer
from penstock.onnx import MAX_BYTES
from penstock.runtime.blobs import read_blob
from penstock.runtime.broker import Message, TopicPartition
from penstock.runtime.columnar import Rows, read_rows
from penstock.runtime.deadletter import Refused
from penstock.runtime.errors import NotYet
from penstock.runtime.loop import Staged
from penstock.runtime.records import Alike, column, pick
from penstock.runtime.task import CatalogTask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from penstock.contracts.records import ModelRegistered
    from penstock.inference.loader import Shelf
    from penstock.inference.tally import Tally
    from penstock.runtime.broker import Broker, Polled, Position
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
    limit = 5_000  # what is made of so many rows on the way still fits into a processor's cache

    def __init__(self, catalog: Catalog, broker: Broker, shelf: Shelf, tally: Tally) -> None:
        super().__init__(catalog, service=SERVICE)
        self._broker = broker
        self._shelf = shelf
        self._tally = tally
        self._tables = Tables(broker, catalog)
        self._requests = Requests(self.names, self.codec, tally)
        self._epochs: dict[TopicPartition, int] = {}
        self._writers: dict[tuple[str, str], Writer] = {}
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
        return self.pipeline_topics("features", "requests")

    def restore(self, positions: Mapping[TopicPartition, Position]) -> Iterator[None]:
        """The epoch each partition has been scored under."""
        self._epochs = {where: _epoch(position.metadata) for where, position in positions.items()}
        yield from ()

    def held(self) -> frozenset[TopicPartition]:
        """Partitions whose pipeline cannot answer yet, or only by an older route than scored them last."""
        epochs = self._epochs.items()
        return frozenset(where for where, epoch in epochs if self._serving(where.topic, epoch) is None)

    def process(self, polled: Polled) -> Staged:
        rows: list[Alike] = []
        replies: list[Message] = []
        refused: list[Refused] = []
        metadata: dict[TopicPartition, str] = {}
        for topic, there in _by_topic(column(polled.records, "topic")).items():
            records = pick(polled.records, there)
            partitions = np.array(column(records, "partition"))
            wheres = [TopicPartition(topic, number) for number in np.unique(partitions).tolist()]
            serving = self._serving(topic, max(self._epochs.get(where, 0) for where in wheres))
            if serving is None:
                raise NotYet(f"{topic} came back to a route that is not known here yet")
            if topic == self.names.of("requests", serving.pipeline.name):
                answered = self._requests.answer(serving, records)
                rows += answered.predictions
                replies += answered.replies
                refused += answered.refused
            else:
                layouts, faults = read_rows(self.codec, column(records, "value"))
                refused += [Refused(records[place], why) for place, why in faults.items()]
                for layout in layouts:
                    rows += self._score(serving, layout, partitions[layout.places])
            for where in wheres:
                self._epochs[where] = serving.route.epoch
                metadata[where] = str(serving.route.epoch)
        return Staged(messages=replies, rows=rows, refused=refused, metadata=metadata)

    def _serving(self, topic: str, epoch: int) -> Serving | None:
        state = self._shelf.directory.get(self.names.pipeline(topic))
        return state if isinstance(state, Serving) and state.route.epoch >= epoch else None

    def _score(self, serving: Serving, rows: Rows, partitions: NDArray[np.int64]) -> Iterator[Alike]:
        """The predictions of rows of one layout, each on the partition that its row came from."""
        name = serving.pipeline.name
        scored = serving.score(rows.ids, rows.codec.names, rows.matrix)
        self._tally.add(name, Origin.STREAM, scored.answers)
        payloads = self._writer(name, rows.codec).write(
            Scores(
                serving=serving,
                scored=scored,
                ids=rows.ids,
                times=rows.times.tolist(),
                cleared=rows.cleared,
                matrix=rows.matrix,
                attributions=sampled(serving, scored, rows.ids, rows.codec.names, rows.matrix),
            )
        )
        topic, keys = self.names.of("predictions", name), [id_.encode() for id_ in rows.ids]
        for number in np.unique(partitions).tolist():
            there = np.flatnonzero(partitions == number)
            first, last = int(there[0]), int(there[-1]) + 1
            if last - first == len(there):  # what is polled comes partition by partition, mostly
                yield Alike(topic, keys[first:last], payloads[first:last], number)
            else:
                places = there.tolist()
                yield Alike(topic, [keys[at] for at in places], [payloads[at] for at in places], number)

    def _writer(self, pipeline: str, rows: RowCodec[Any]) -> Writer:
        key = pipeline, rows.layout
        writer = self._writers.get(key)
        if writer is None:
            codec = self.codec.rows(Prediction, pipeline, rows.layout, rows.names)
            writer = self._writers[key] = Writer(codec, Origin.STREAM)
        return writer

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


def _by_topic(topics: Sequence[str]) -> Mapping[str, Sequence[int]]:
    """The places of each topic's records."""
    if topics and topics.count(topics[0]) == len(topics):
        return {topics[0]: range(len(topics))}
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, topic in enumerate(topics):
        places[topic].append(place)
    return places


def _epoch(metadata: str) -> int:
    """What a committed offset remembers; nothing before the first commit."""
    return int(metadata) if metadata.isdecimal() else 0
