"""Stream scoring as one would first write it: `python -m benchmarks.stream_loop BOOTSTRAP PREFIX FEATURES`.

Consume, and for each record: decode it, score it, encode its prediction, produce it; in transactions as large
as the product's, with its client settings and its codec. What comes out is what the product writes.
"""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

import confluent_kafka as ck
import numpy as np

from benchmarks.models import logistic_regression
from benchmarks.replica import pipeline_of
from penstock.contracts.records import FeatureRow, Origin, Prediction, Role, Score
from penstock.inference.stream import StreamTask
from penstock.onnx import Model, digest_of
from penstock.runtime.catalog import Names
from penstock.runtime.codec import Codec


def run(bootstrap: str, prefix: str, features: int, stop: threading.Event) -> None:
    """Until told to stop."""
    names, pipeline = Names(prefix), pipeline_of(features)
    artifact = logistic_regression(features)
    model = Model.load(artifact, digest=digest_of(artifact))
    layout = pipeline.features_digest, pipeline.feature_names
    rows = Codec().rows(FeatureRow, pipeline.name, *layout)
    written = Codec().rows(Prediction, pipeline.name, *layout)
    output = names.of("predictions", pipeline.name)

    def predict(payload: bytes) -> tuple[bytes, bytes]:
        head = rows.head(payload)
        matrix = rows.matrix([payload]).astype(np.float32)
        scores = tuple(model.run(matrix)[0].tolist())
        prediction = Prediction(
            id=head.id,
            origin=Origin.STREAM,
            time=head.time,
            epoch=1,
            version=1,
            role=Role.CHAMPION,
            scores=(Score(version=1, values=scores),),
            error=None,
            cleared=head.cleared,
            parameters={},
            attributions=(),
        )
        return head.id.encode(), written.with_head(prediction, rows.features_of(payload))

    consumer = ck.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{prefix}inference",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.queue.backoff.ms": 10,
        }
    )
    producer = ck.Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": f"{prefix}inference-0",
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 5,
            "retry.backoff.ms": 5,
            "retry.backoff.max.ms": 20,
        }
    )
    producer.init_transactions()
    consumer.subscribe([names.of("features", pipeline.name)])
    while not stop.is_set():
        messages: list[Any] = consumer.consume(StreamTask.limit, 0.05)
        if not messages:
            continue
        producer.begin_transaction()
        ends: dict[tuple[str, int], int] = {}
        for message in messages:
            if message.error():
                raise ck.KafkaException(message.error())
            key, value = predict(message.value())
            producer.produce(output, value, key, message.partition())
            ends[message.topic(), message.partition()] = message.offset() + 1
        producer.poll(0)
        offsets = [ck.TopicPartition(topic, number, offset) for (topic, number), offset in ends.items()]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
        producer.commit_transaction()
    consumer.close()


def main() -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    run(sys.argv[1], sys.argv[2], int(sys.argv[3]), stop)


if __name__ == "__main__":
    main()
