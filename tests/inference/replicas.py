"""A real inference process to ask, and what its log says afterwards."""

from __future__ import annotations

import asyncio
import struct
import threading
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

# It sets what grpc reads when it is imported.
from penstock.inference.servicer import SERVICE

import grpc  # type: ignore[import-untyped]  # isort: skip  # it ships no types

from benchmarks.replica import Registry, Server, pipeline_of
from penstock.contracts import oip_pb2
from penstock.contracts.records import Prediction, PredictionsLost
from penstock.runtime.broker import TopicPartition
from penstock.runtime.fold import read_range
from penstock.runtime.kafka import KafkaBroker
from penstock.trainer.export import constant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FEATURES = 3


def score_of(version: int) -> float:
    """What a version says of every row."""
    return float(struct.unpack("<f", struct.pack("<f", version / 1000))[0])


def model_of(version: int) -> bytes:
    """A model that says so."""
    return constant(FEATURES, [score_of(version)])


@contextmanager
def replica_of(bootstrap: str) -> Iterator[tuple[Registry, Server]]:
    """A process with version 1 in force, and the hand that writes what comes next."""
    registry = Registry(bootstrap, prefix=f"t{uuid.uuid4().hex[:12]}.", pipeline=pipeline_of(FEATURES))
    registry.register(1, model_of(1))
    registry.serve(1)
    with Server.inference(registry) as server:
        yield registry, server
    registry.close()
    assert not [line for line in server.lines if '"level": "error"' in line]


class Answered(NamedTuple):
    """One answer, as its caller saw it; times are milliseconds since 1970."""

    id: str
    sent: int
    came: int
    version: int
    epoch: int
    scores: tuple[float, ...]


@dataclass
class Asking:
    """Asks as long as its ``with`` block lasts, so many calls at once, and keeps every answer."""

    address: str
    name: str
    in_flight: int
    rows: int = 1
    answers: list[Answered] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    _stopped: bool = False

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._thread.join(60)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        async with grpc.aio.insecure_channel(self.address) as channel:
            call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
            await asyncio.gather(*(self._ask(call) for _ in range(self.in_flight)))

    async def _ask(self, call: Any) -> None:
        while not self._stopped:
            self.asked += 1
            id_ = f"call-{self.asked:07d}"
            sent = now()
            try:
                body = await call(self._request(id_), timeout=20)
            except grpc.aio.AioRpcError as error:
                self.failures[f"{error.code().name}: {error.details()}"] += 1
                continue
            response = oip_pb2.ModelInferResponse.FromString(body)
            assert response.id == id_
            self.answers.append(
                Answered(
                    id=id_,
                    sent=sent,
                    came=now(),
                    version=response.parameters["model_version"].int64_param,
                    epoch=response.parameters["route_epoch"].int64_param,
                    scores=tuple(np.frombuffer(response.raw_output_contents[0], dtype="<f4").tolist()),
                )
            )

    def _request(self, id_: str) -> bytes:
        message = oip_pb2.ModelInferRequest(model_name=self.name, id=id_)
        message.inputs.add(name="features", datatype="FP32", shape=[self.rows, FEATURES])
        values = np.full(self.rows * FEATURES, len(id_), dtype="<f4")
        message.raw_input_contents.append(values.tobytes())
        return message.SerializeToString()

    def ids(self) -> Counter[str]:
        """What is to be found in the log: the id of each row that was answered."""
        if self.rows == 1:
            return Counter(answer.id for answer in self.answers)
        return Counter(f"{answer.id}/{row}" for answer in self.answers for row in range(self.rows))


class Log(NamedTuple):
    """What is in the log of predictions."""

    ids: Counter[str]
    """Of all predictions."""
    gaps: tuple[PredictionsLost, ...]
    values: tuple[bytes, ...]
    """The predictions as they lie there."""

    @property
    def lost(self) -> int:
        return sum(gap.count for gap in self.gaps)


def read_log(registry: Registry) -> Log:
    """The whole log of the registry's pipeline, by clients of its own: Kafka may have been away."""
    broker = KafkaBroker(registry.bootstrap)
    topic = registry.names.of("predictions", registry.pipeline.name)
    ends = broker.ends([TopicPartition(topic, number) for number in range(registry.partitions[topic])])
    pipeline = registry.pipeline
    rows = registry.codec.rows(
        Prediction, pipeline.name, pipeline.features_digest, pipeline.feature_names
    ).schema.header
    ids: Counter[str] = Counter()
    gaps, values = [], []
    for records in read_range(broker, ends):
        for record in records:
            value = record.value or b""
            if value.startswith(rows):
                ids[(record.key or b"").decode()] += 1
                values.append(value)
            else:
                gaps.append(registry.codec.decode(value).value)
    broker.close()
    return Log(ids, tuple(gaps), tuple(values))


def now() -> int:
    return time.time_ns() // 1_000_000


def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait for what another process is about to do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {seconds:g} s"
        time.sleep(0.01)
