"""A cluster in memory with what operators, trainer and registry would have written, for inference to read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.contracts.records import FeatureRow, Golden, ModelRegistered, Prediction
from penstock.inference.loader import AtOnce, Shelf
from penstock.inference.stream import StreamTask
from penstock.inference.tally import Tally
from penstock.kernel.pipeline import Pipeline
from penstock.onnx import digest_of
from penstock.runtime.blobs import chunks
from penstock.runtime.broker import Message
from penstock.runtime.catalog import Catalog, Names, apply_messages
from penstock.runtime.codec import Codec, row_schema
from penstock.runtime.loop import Loop, settle
from penstock.runtime.memory import MemoryBroker
from penstock.runtime.telemetry import off
from penstock.runtime.topics import topics
from penstock.trainer.export import constant
from tests.inference.asking import NAMES, PIPELINE, route
from tests.registry.given import manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES_OF = Names("penstock.")
FEATURES = NAMES_OF.of("features", "trips")
PREDICTIONS = NAMES_OF.of("predictions", "trips")
DEAD = NAMES_OF.of("dead-letters.inference", "trips")


class World:
    """The cluster, and hands to write into it."""

    def __init__(self, **changes: Any) -> None:
        """`changes` are those of the pipeline's file."""
        self.now = 1_000
        self.pipeline = Pipeline.read(PIPELINE.raw() | changes)
        self.broker = MemoryBroker(now=lambda: self.now)
        self.broker.create([*topics("penstock."), *topics("penstock.", pipeline="trips")])
        self.codec = Codec()
        self.partitions = self.broker.topics()[NAMES_OF.of("chunks")]
        for message in apply_messages(NAMES_OF, self.pipeline, self.codec, partitions=3, now=0):
            self.broker.append(message)
        self.shelf = Shelf(AtOnce(), clock=lambda: self.now / 1000)
        self.tally = Tally()

    def replica(self, slot: str = "0", *, shelf: Shelf | None = None) -> Loop:
        """Stream scoring as `serve` would build it."""
        catalog = Catalog(self.broker, NAMES_OF)
        task = StreamTask(catalog, self.broker, shelf or self.shelf, self.tally)
        return Loop(task, self.broker, service="inference", prefix="penstock.", slot=slot, telemetry=off())

    def model(self, version: int, score: float, *, artifact: bytes | None = None, **changes: Any) -> None:
        """Register a version that answers `score`; `changes` are the manifest's."""
        body = artifact if artifact is not None else constant(len(NAMES), [score])
        for message in chunks(NAMES_OF.of("chunks"), body, partitions=self.partitions):
            self.broker.append(message)
        self.register(version, body, score, **changes)

    def register(self, version: int, body: bytes, score: float, **changes: Any) -> None:
        """What the registry writes, without the chunks."""
        made = manifest(
            digest=digest_of(body),
            size=len(body),
            features=NAMES,
            layout=PIPELINE.features_digest,
            golden=(Golden(features=(1.0,) * len(NAMES), scores=(score,)),),
        )
        event = ModelRegistered(
            pipeline="trips",
            version=version,
            candidate=f"candidate-{version}",
            manifest=replace(made, **changes),
            causes=(),
        )
        self.write("models", event, key=f"trips/{version:06d}")

    def route(self, **changes: Any) -> None:
        """A routing table for `trips`."""
        self.write("routes", route(**changes), key="trips")

    def write(self, topic: str, event: object, *, key: str) -> None:
        self.broker.append(Message(NAMES_OF.of(topic), self.codec.encode(event), key.encode(), (), 0))

    def rows(self, *ids: str, values: Sequence[float] | None = None, names: Sequence[str] = NAMES) -> None:
        """Feature rows, as intake would write them."""
        layout = PIPELINE.features_digest if tuple(names) == NAMES else "0" * 16
        codec = self.codec.rows(FeatureRow, "trips", layout, names)
        heads = [FeatureRow(id=id_, time=time, cleared=(0,), flags=()) for time, id_ in enumerate(ids)]
        matrix = np.tile(np.array(values or range(len(names)), dtype=np.float64), (len(ids), 1))
        for id_, payload in zip(ids, codec.encode(heads, matrix), strict=True):
            self.broker.append(Message(FEATURES, payload, id_.encode()))

    def publish(self, *names: str) -> None:
        """The schemas of an older layout, as `apply` had written them then."""
        for kind in (FeatureRow, Prediction):
            schema = row_schema(kind.__name__, "trips", "0" * 16, names)
            self.broker.append(Message(NAMES_OF.of("schemas"), schema.text.encode(), schema.fingerprint))

    def predictions(self) -> list[Prediction]:
        """Everything in the log of predictions, by id."""
        catalog = Catalog(self.broker, NAMES_OF)
        records = self.broker.records(PREDICTIONS)
        found = [catalog.codec.decode(record.value or b"").value for record in records]
        return sorted(found, key=lambda prediction: str(prediction.id))


def run(*loops: Loop) -> None:
    """Step until nothing is left to do."""
    settle([loop.step for loop in loops])
