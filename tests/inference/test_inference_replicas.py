"""Two replicas of one group, in real processes on a real Kafka: both serve, and share the stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import AdminClient

# It sets what grpc reads when it is imported.
from penstock.inference.servicer import SERVICE

import grpc  # type: ignore[import-untyped]  # isort: skip  # it ships no types
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # isort: skip

from benchmarks.replica import Registry, Server
from penstock.cli.status import replicas
from penstock.contracts import oip_pb2
from penstock.contracts.records import FeatureRow
from penstock.kernel.hashing import partition_of
from penstock.onnx import digest_of
from penstock.runtime.blobs import key_of
from penstock.runtime.broker import Message
from tests.inference.replicas import FEATURES, Asking, model_of, read_log, replica_of, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kafka

IDS = [f"id-{number:03d}" for number in range(120)]
ROUTE: dict[str, Any] = {"canary": 2, "share": 0.4, "split": 3, "split_share": 0.3, "split_salt": "s"}


def who_answers(address: str, name: str) -> dict[str, tuple[int, str, int]]:
    """For each id: version, role and route epoch."""
    found = {}
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        for id_ in IDS:
            message = oip_pb2.ModelInferRequest(model_name=name, id=id_)
            tensor = message.inputs.add(name="features", datatype="FP32", shape=[1, FEATURES])
            tensor.contents.fp32_contents.extend([1.0] * FEATURES)
            said = oip_pb2.ModelInferResponse.FromString(
                call(message.SerializeToString(), timeout=20)
            ).parameters
            found[id_] = (
                said["model_version"].int64_param,
                said["role"].string_param,
                said["route_epoch"].int64_param,
            )
    return found


def rows(registry: Registry, first: int, count: int) -> set[str]:
    """Feature rows on the stream; their ids."""
    spec = registry.pipeline
    codec = registry.codec.rows(FeatureRow, spec.name, spec.features_digest, spec.feature_names)
    ids = [f"row-{number}" for number in range(first, first + count)]
    heads = [FeatureRow(id=id_, time=1, cleared=()) for id_ in ids]
    payloads = codec.encode(heads, [[1.0] * FEATURES] * count)  # type: ignore[arg-type]  # what numpy takes
    topic = registry.names.of("features", spec.name)
    registry.write(Message(topic, payload, id_.encode()) for id_, payload in zip(ids, payloads, strict=True))
    return set(ids)


def members(registry: Registry) -> list[int]:
    """How many of the stream's partitions each member of the group has."""
    admin = AdminClient({"bootstrap.servers": registry.bootstrap, "log_level": 0})
    group = registry.names.of("inference")
    found = admin.describe_consumer_groups([group])[group].result(20).members
    topic = registry.names.of("features", registry.pipeline.name)
    return sorted(sum(where.topic == topic for where in each.assignment.topic_partitions) for each in found)


def scored(registry: Registry) -> dict[str, int]:
    return {id_: count for id_, count in read_log(registry).ids.items() if id_.startswith("row-")}


def served(registry: Registry) -> dict[object, Any]:
    """What `penstock status` shows of the replicas, by slot."""
    return {each["replica"]: each for each in replicas(registry.broker, registry.names)}


def test_two_replicas(kafka: str, tmp_path: Path) -> None:
    artifacts = str(tmp_path / "artifacts")
    with replica_of(kafka) as (registry, one):
        name = registry.pipeline.name
        with Server.inference(registry, slot="1", artifacts=artifacts) as two:
            for version in (2, 3):
                registry.register(version, model_of(version))
            epoch = registry.serve(1, **ROUTE).epoch
            for each in (one, two):
                until(lambda each=each: who_answers(each.address, name)[IDS[0]][2] == epoch)  # type: ignore[misc]  # a default, to bind it
            # Sticky: an id is answered by the same version wherever it is asked.
            answers = who_answers(one.address, name)
            assert answers == who_answers(two.address, name)
            assert {(version, role) for version, role, _ in answers.values()} == {
                (1, "champion"),
                (2, "canary"),
                (3, "split"),
            }
            # Both are known, and the stream is shared out.
            until(lambda: [each["epoch"] for each in served(registry).values()] == [epoch] * 2)
            reports = served(registry).values()
            assert [(each["loaded"], each["epoch"]) for each in reports] == [([1, 2, 3], epoch)] * 2
            until(lambda: members(registry) == [1, 2])
            ids = rows(registry, 0, 300)
            until(lambda: scored(registry).keys() == ids)

            # One is told to stop under load: it says so first, and finishes what it has in hand.
            with grpc.insecure_channel(two.address) as channel:
                watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=name))
                assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
                with Asking(two.address, name, in_flight=16) as asking:
                    until(lambda: len(asking.answers) > 200)
                    two.__exit__()
                    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        # Whoever was let in was answered; who came later was told that there is nobody.
        assert {failure.partition(":")[0] for failure in asking.failures} <= {"UNAVAILABLE"}
        until(lambda: read_log(registry).ids.keys() >= asking.ids().keys())
        until(lambda: set(served(registry)) == {"0"})
        # It comes back to its place in the group, with none of its artifacts in the log: all is as before.
        more = rows(registry, 300, 300)
        chunks = registry.names.of("chunks")
        for version in (1, 2, 3):
            registry.write(tombstones(registry, chunks, version))
        with Server.inference(registry, slot="1", artifacts=artifacts) as again:
            until(lambda: who_answers(again.address, name) == answers)
            until(lambda: scored(registry).keys() == ids | more)
        assert set(scored(registry).values()) == {1}


def tombstones(registry: Registry, topic: str, version: int) -> list[Message]:
    """What removes the chunks of a version's artifact."""
    digest = digest_of(model_of(version))
    partition = partition_of(digest.encode(), registry.partitions[topic])
    return [Message(topic, None, key_of(digest, 0), (), partition)]
