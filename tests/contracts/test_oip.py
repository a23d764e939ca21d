"""The messages are those of the published protocol, and the committed code is what protoc writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from penstock.contracts import oip_pb2
from proto.generate import CONTRACTS, generate

if TYPE_CHECKING:
    from pathlib import Path

# As published: https://github.com/kserve/open-inference-protocol, and Triton's for the extensions.
FIELDS = {
    "ServerLiveResponse": {"live": 1},
    "ServerReadyResponse": {"ready": 1},
    "ModelReadyRequest": {"name": 1, "version": 2},
    "ModelReadyResponse": {"ready": 1},
    "ServerMetadataResponse": {"name": 1, "version": 2, "extensions": 3},
    "ModelMetadataRequest": {"name": 1, "version": 2},
    "ModelMetadataResponse": {"name": 1, "versions": 2, "platform": 3, "inputs": 4, "outputs": 5},
    "ModelMetadataResponse.TensorMetadata": {"name": 1, "datatype": 2, "shape": 3},
    "ModelInferRequest": {
        "model_name": 1,
        "model_version": 2,
        "id": 3,
        "parameters": 4,
        "inputs": 5,
        "outputs": 6,
        "raw_input_contents": 7,
    },
    "ModelInferRequest.InferInputTensor": {
        "name": 1,
        "datatype": 2,
        "shape": 3,
        "parameters": 4,
        "contents": 5,
    },
    "ModelInferRequest.InferRequestedOutputTensor": {"name": 1, "parameters": 2},
    "ModelInferResponse": {
        "model_name": 1,
        "model_version": 2,
        "id": 3,
        "parameters": 4,
        "outputs": 5,
        "raw_output_contents": 6,
    },
    "ModelInferResponse.InferOutputTensor": {
        "name": 1,
        "datatype": 2,
        "shape": 3,
        "parameters": 4,
        "contents": 5,
    },
    "InferParameter": {
        "bool_param": 1,
        "int64_param": 2,
        "string_param": 3,
        "double_param": 4,
        "uint64_param": 5,
    },
    "InferTensorContents": {
        "bool_contents": 1,
        "int_contents": 2,
        "int64_contents": 3,
        "uint_contents": 4,
        "uint64_contents": 5,
        "fp32_contents": 6,
        "fp64_contents": 7,
        "bytes_contents": 8,
    },
    "ModelStreamInferResponse": {"error_message": 1, "infer_response": 2},
    "ModelConfigRequest": {"name": 1, "version": 2},
    "ModelConfigResponse": {"config": 1},
    "ModelConfig": {
        "name": 1,
        "platform": 2,
        "max_batch_size": 4,
        "input": 5,
        "output": 6,
        "parameters": 14,
        "backend": 17,
    },
    "ModelParameter": {"string_value": 1},
    "RepositoryIndexRequest": {"repository_name": 1, "ready": 2},
    "RepositoryIndexResponse": {"models": 1},
    "RepositoryIndexResponse.ModelIndex": {"name": 1, "version": 2, "state": 3, "reason": 4},
}


def test_the_committed_messages_are_what_protoc_writes(tmp_path: Path) -> None:
    generate(tmp_path)
    for name in ("oip_pb2.py", "oip_pb2.pyi"):
        assert (tmp_path / name).read_text() == (CONTRACTS / name).read_text(), (
            f"run `make contracts`: {name}"
        )


@pytest.mark.parametrize("name", FIELDS)
def test_field_numbers_are_the_published_ones(name: str) -> None:
    outer, _, inner = name.partition(".")
    message = oip_pb2.DESCRIPTOR.message_types_by_name[outer]
    if inner:
        message = message.nested_types_by_name[inner]
    assert {field.name: field.number for field in message.fields} == FIELDS[name]


def test_the_service_and_its_calls_have_the_published_names() -> None:
    service = oip_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert service.full_name == "inference.GRPCInferenceService"
    assert {method.name for method in service.methods} == {
        "ServerLive",
        "ServerReady",
        "ModelReady",
        "ServerMetadata",
        "ModelMetadata",
        "ModelInfer",
        "ModelStreamInfer",
        "ModelConfig",
        "RepositoryIndex",
    }


def test_a_request_has_the_published_bytes() -> None:
    request = oip_pb2.ModelInferRequest(model_name="m", id="7", raw_input_contents=[b"\x00\x00\x80\x3f"])
    request.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    request.parameters["p"].string_param = "v"
    assert request.SerializeToString() == (
        b"\x0a\x01m"  # 1: model_name
        b"\x1a\x017"  # 3: id
        b"\x22\x08\x0a\x01p\x12\x03\x1a\x01v"  # 4: parameters, 3: string_param
        b"\x2a\x0d\x0a\x01x\x12\x04FP32\x1a\x02\x01\x01"  # 5: inputs, with name, datatype, packed shape
        b"\x3a\x04\x00\x00\x80\x3f"  # 7: raw_input_contents
    )
