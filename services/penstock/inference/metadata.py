"""The calls about models, as functions of bytes: what there is, what it takes, whether it can be asked.

`ModelMetadata` lists one tensor for each feature, in the order of the spec; the packed form, ``features``,
is the same columns in the same order. `ModelConfig` says it once more in Triton's words, for tools that ask
for it, and which fields of an event are its id and its times.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from penstock.contracts import oip_pb2 as oip
from penstock.inference.domain import STARTING, Directory, Serving, Waiting
from penstock.inference.faults import Fault
from penstock.inference.oip import find, find_version
from penstock.inference.tensors import MAX_ROWS
from penstock.kernel.kinds import Boolean, Category, Feature

PLATFORM: Final = "onnxruntime_onnx"
EXTENSIONS: Final = ("model_configuration", "model_repository")
_TRITON: Final = {"BYTES": oip.TYPE_STRING, "BOOL": oip.TYPE_BOOL, "FP32": oip.TYPE_FP32}
M = TypeVar("M", bound=Message)
Call = Callable[[Directory, bool, bytes], bytes]
"""What is known, whether this server is ready, a request: its response."""


def _parsed(kind: type[M], body: bytes) -> M:
    message = kind()
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise Fault("INVALID_ARGUMENT", f"the message is not a {kind.DESCRIPTOR.name}") from error
    return message


def _datatype(feature: Feature) -> str:
    match feature.kind:
        case Category():
            return "BYTES"
        case Boolean():
            return "BOOL"
    return "FP32"


def server_live(_: Directory, __: bool, body: bytes) -> bytes:
    _parsed(oip.ServerLiveRequest, body)
    return oip.ServerLiveResponse(live=True).SerializeToString()


def server_ready(_: Directory, ready: bool, body: bytes) -> bytes:
    _parsed(oip.ServerReadyRequest, body)
    return oip.ServerReadyResponse(ready=ready).SerializeToString()


def server_metadata(_: Directory, __: bool, body: bytes) -> bytes:
    _parsed(oip.ServerMetadataRequest, body)
    response = oip.ServerMetadataResponse(name="penstock", version=version("penstock"), extensions=EXTENSIONS)
    return response.SerializeToString()


def model_ready(directory: Directory, _: bool, body: bytes) -> bytes:
    """NOT_FOUND for a pipeline nobody applied; one that waits, or a version not loaded, is just not ready."""
    request = _parsed(oip.ModelReadyRequest, body)
    try:
        find_version(find(directory, request.name), request.version)
        ready = True
    except Fault:
        if request.name not in directory and directory is not STARTING:
            raise
        ready = False
    return oip.ModelReadyResponse(ready=ready).SerializeToString()


def model_metadata(directory: Directory, _: bool, body: bytes) -> bytes:
    request = _parsed(oip.ModelMetadataRequest, body)
    serving = find(directory, request.name)
    find_version(serving, request.version)
    versions = [request.version] if request.version else [str(each) for each in sorted(serving.models)]
    response = oip.ModelMetadataResponse(name=request.name, versions=versions, platform=PLATFORM)
    pipeline = serving.pipeline
    for feature in pipeline.features:
        response.inputs.add(name=feature.name, datatype=_datatype(feature), shape=[-1, 1])
    response.outputs.add(name="scores", datatype="FP32", shape=[-1, pipeline.outputs])
    return response.SerializeToString()


def model_config(directory: Directory, _: bool, body: bytes) -> bytes:
    request = _parsed(oip.ModelConfigRequest, body)
    serving = find(directory, request.name)
    find_version(serving, request.version)
    return oip.ModelConfigResponse(config=_config(serving)).SerializeToString()


def _config(serving: Serving) -> oip.ModelConfig:
    pipeline = serving.pipeline
    # Triton counts the batch apart: the sizes here are those of one row.
    config = oip.ModelConfig(
        name=pipeline.name, platform=PLATFORM, backend="onnxruntime", max_batch_size=MAX_ROWS
    )
    for feature in pipeline.features:
        kind = _TRITON[_datatype(feature)]
        config.input.add(name=feature.name, data_type=kind, dims=[1], optional=not feature.kind.required)
    config.parameters["id"].string_value = pipeline.events.id
    config.parameters["event_time"].string_value = pipeline.events.time
    config.parameters["timestamps"].string_value = json.dumps(sorted(serving.layout.fields))
    config.output.add(name="scores", data_type=oip.TYPE_FP32, dims=[pipeline.outputs])
    return config


def repository_index(directory: Directory, _: bool, body: bytes) -> bytes:
    request = _parsed(oip.RepositoryIndexRequest, body)
    response = oip.RepositoryIndexResponse()
    for name, state in sorted(directory.items()):
        match state:
            case Serving(models=models):
                for version in sorted(models):
                    response.models.add(name=name, version=str(version), state="READY")
            case Waiting(reason=reason) if not request.ready:
                response.models.add(name=name, state="UNAVAILABLE", reason=reason)
    return response.SerializeToString()


CALLS: Final[dict[str, Call]] = {
    "ServerLive": server_live,
    "ServerReady": server_ready,
    "ServerMetadata": server_metadata,
    "ModelReady": model_ready,
    "ModelMetadata": model_metadata,
    "ModelConfig": model_config,
    "RepositoryIndex": repository_index,
}
"""Every call but those that score."""
