"""Requests and the stream on the real Kafka: a replica is killed, and everything is answered once."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pytest

from benchmarks.replica import Registry, Server, pipeline_of
from penstock.contracts.records import FeatureRow, Origin, Prediction
from penstock.runtime.broker import Message
from penstock.runtime.fold import Fold
from tests.inference.replicas import FEATURES, model_of, score_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock.runtime.broker import Record

pytestmark = pytest.mark.kafka
REQUESTS, ROWS, PART = 400, 4000, 40
PATIENCE = 60.0


class Log:
    """What is committed on two topics, so far."""

    def __init__(self, registry: Registry) -> None:
        name = registry.pipeline.name
        self.topics = [registry.names.of(topic, name) for topic in ("replies", "predictions")]
        self.records: list[Record] = []
        self._fold = Fold(registry.broker, self.topics)

    def until(self, replies: int, predictions: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while any(
            len(self.of(topic)) < wanted
            for topic, wanted in zip(self.topics, (replies, predictions), strict=True)
        ):
            assert time.monotonic() < deadline, "it is not answered"
            self.records += self._fold.poll(0.2)

    def of(self, topic: str) -> list[Record]:
        return [record for record in self.records if record.topic == topic]

    def close(self) -> None:
        self._fold.close()


def inputs(registry: Registry, part: int) -> Iterable[Message]:
    """A part of the requests, and of the rows."""
    name = registry.pipeline.name
    for number in range(part * PART, (part + 1) * PART):
        data = [float(number)] * FEATURES
        tensor = {"name": "features", "datatype": "FP32", "shape": [1, FEATURES], "data": data}
        headers = (("content-type", b"application/json"), ("correlation-id", b"%d" % number))
        body = orjson.dumps({"id": f"asked-{number}", "inputs": [tensor]})
        yield Message(registry.names.of("requests", name), body, b"%d" % number, headers)
    size = ROWS * PART // REQUESTS
    heads = [
        FeatureRow(id=f"row-{number}", time=number, cleared=(), flags=())
        for number in range(part * size, (part + 1) * size)
    ]
    spec = registry.pipeline
    rows = registry.codec.rows(FeatureRow, name, spec.features_digest, spec.feature_names)
    for head, payload in zip(heads, rows.encode(heads, np.zeros((size, FEATURES))), strict=True):
        yield Message(registry.names.of("features", name), payload, head.id.encode())


def test_a_killed_replica_answers_everything_once(kafka: str, prefix: str) -> None:
    registry = Registry(kafka, prefix=prefix, pipeline=pipeline_of(FEATURES))
    registry.register(1, model_of(1))
    registry.serve(1)
    log = Log(registry)
    half = REQUESTS // PART // 2
    with Server.inference(registry) as first:
        registry.write(inputs(registry, 0))
        log.until(1, 1)
        for part in range(1, half):
            registry.write(inputs(registry, part))
        first._process.kill()  # somewhere in the middle of them
        first._process.wait()
    with Server.inference(registry):
        for part in range(half, 2 * half):
            registry.write(inputs(registry, part))
        log.until(REQUESTS, REQUESTS + ROWS)
    log.close()

    replies, predictions = map(log.of, log.topics)
    told = Counter(dict(reply.headers)["correlation-id"] for reply in replies)
    assert told == Counter({b"%d" % number: 1 for number in range(REQUESTS)})
    for reply in replies:
        headers, body = dict(reply.headers), orjson.loads(reply.value or b"")
        assert headers["status"] == b"OK"
        assert body["id"] == f"asked-{headers['correlation-id'].decode()}"
        assert np.float32(body["outputs"][0]["data"][0]) == np.float32(score_of(1))
    spec = registry.pipeline
    registry.codec.rows(Prediction, spec.name, spec.features_digest, spec.feature_names)
    found = [registry.codec.decode(record.value or b"").value for record in predictions]
    assert all(isinstance(each, Prediction) for each in found)
    assert Counter((each.id, each.origin) for each in found) == {
        **{(f"asked-{number}", Origin.GRPC): 1 for number in range(REQUESTS)},
        **{(f"row-{number}", Origin.STREAM): 1 for number in range(ROWS)},
    }
    registry.close()
