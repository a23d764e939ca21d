"""A client that knows nothing but the address, as grpcurl does: it asks what there is, and calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (  # type: ignore[import-untyped]  # no types
    ProtoReflectionDescriptorDatabase,
)

from penstock.inference.metadata import CALLS
from penstock.inference.rpc import SERVICE
from tests.inference.asking import serving
from tests.inference.running import Running, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running({"trips": serving()}) as up:
        yield up


@pytest.fixture(scope="module")
def service(server: Running) -> Any:
    """The service as the server itself describes it; nothing of ours is looked into."""
    database = ProtoReflectionDescriptorDatabase(server.channel)
    assert SERVICE in database.get_services()
    return DescriptorPool(database).FindServiceByName(SERVICE)


def call(server: Running, service: Any, name: str, request: dict[str, Any]) -> dict[str, Any]:
    """A call from JSON to JSON."""
    method = service.FindMethodByName(name)
    asked = json_format.ParseDict(request, GetMessageClass(method.input_type)())
    answer = GetMessageClass(method.output_type).FromString(server.ask(name, asked.SerializeToString()))
    found: dict[str, Any] = json_format.MessageToDict(answer, preserving_proto_field_name=True)
    return found


def test_every_call_is_described(service: Any) -> None:
    assert {method.name for method in service.methods} == {*CALLS, "ModelInfer", "ModelStreamInfer"}


def test_a_row_is_asked_about_in_json(server: Running, service: Any) -> None:
    row = {"name": "distance", "datatype": "FP32", "shape": [1], "contents": {"fp32_contents": [12.5]}}
    noon = {"event_time": {"string_param": "2013-01-01T12:00:00Z"}}
    request = {"model_name": "trips", "id": "web-1", "inputs": [row], "parameters": noon}
    answer = call(server, service, "ModelInfer", request)
    assert (answer["id"], answer["model_version"]) == ("web-1", "1")
    [scores] = answer["outputs"]
    assert scores["contents"]["fp32_contents"] == [24.5]


@pytest.mark.parametrize(
    ("name", "request_", "key"),
    [
        ("ServerLive", {}, "live"),
        ("ServerMetadata", {}, "name"),
        ("ModelReady", {"name": "trips"}, "ready"),
        ("ModelMetadata", {"name": "trips"}, "inputs"),
        ("ModelConfig", {"name": "trips"}, "config"),
        ("RepositoryIndex", {}, "models"),
    ],
)
def test_every_other_call_answers(
    server: Running, service: Any, name: str, request_: dict[str, Any], key: str
) -> None:
    assert call(server, service, name, request_)[key]
