"""A small client: rows as dictionaries in, predictions out.

Any client of the Open Inference Protocol will do; this one knows which tensor each Python value is.

    with Client("127.0.0.1:8001", pipeline="flights") as client:
        prediction = client.predict({"carrier": "UA", "distance": 1400, "temp": 39.0}, id="UA-1545")
        prediction.scores, prediction.version
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import grpc  # type: ignore[import-untyped]  # it ships no types
import numpy as np
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # nor does this

from penstock.contracts import oip_pb2
from penstock.inference.faults import Fault, Violation

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

Value = str | float | bool | datetime | None
Row = Mapping[str, Value]
_INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
_METADATA: Final = "/inference.GRPCInferenceService/ModelMetadata"
_CONFIG: Final = "/inference.GRPCInferenceService/ModelConfig"
_DATATYPES: Final = {oip_pb2.TYPE_STRING: "BYTES", oip_pb2.TYPE_BOOL: "BOOL", oip_pb2.TYPE_FP32: "FP32"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the model says of one row.

    Args:
        id: what its label is to be sent under.
        scores: one number; of a multiclass task one for each class.
        version: of the model that answered.
        role: as what it did: champion, canary or, where it was asked for, shadow.
        epoch: of the routing table in force.
    """

    id: str
    scores: tuple[float, ...]
    version: int
    role: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a pipeline's model takes of an event.

    Args:
        features: name → the protocol's datatype (BYTES, BOOL or FP32), in the order of the spec.
        id: the field that names the event.
        event_time: the field of its time.
        timestamps: the fields of other times that features are parts of.
    """

    features: Mapping[str, str]
    id: str
    event_time: str
    timestamps: frozenset[str]


class Client:
    """Asks one pipeline.

    Args:
        address: ``HOST:PORT`` of inference.
        pipeline: its name.
        seconds: how long a call may take.
    """

    def __init__(self, address: str = "127.0.0.1:8001", *, pipeline: str, seconds: float = 5.0) -> None:
        self.pipeline = pipeline
        self._seconds = seconds
        self._channel = grpc.insecure_channel(address)
        self._infer = self._channel.unary_unary(_INFER)
        self._metadata = self._channel.unary_unary(_METADATA)
        self._config = self._channel.unary_unary(_CONFIG)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def predict(
        self,
        features: Row,
        *,
        id: str = "",  # noqa: A002 - the protocol's word, and everybody's
        event_time: datetime | int | None = None,
        version: int | None = None,
    ) -> Prediction:
        """Ask for one row.

        Args:
            features: feature name → value; None or left out is missing.
            id: what its label will be sent under; one is made up where it is empty.
            event_time: when the event is; a number is milliseconds since 1970. Now where it is None.
            version: ask this version, whatever the route says.

        Raises:
            Fault: with the status and, for INVALID_ARGUMENT, what to mend.
        """
        times = None if event_time is None else [event_time]
        return self.predict_many([features], ids=[id] if id else None, event_times=times, version=version)[0]

    def predict_many(
        self,
        rows: Sequence[Row],
        *,
        ids: Sequence[str] | None = None,
        event_times: Sequence[datetime | int] | None = None,
        version: int | None = None,
    ) -> list[Prediction]:
        """Ask for several rows in one call; `ids` and `event_times` have one item for each."""
        request = request_of(self.pipeline, rows, ids=ids, event_times=event_times, version=version)
        response = oip_pb2.ModelInferResponse.FromString(self._call(self._infer, request.SerializeToString()))
        return predictions_of(response)

    def features(self) -> dict[str, str]:
        """Feature name → the protocol's datatype, in the order of the spec."""
        request = oip_pb2.ModelMetadataRequest(name=self.pipeline).SerializeToString()
        response = oip_pb2.ModelMetadataResponse.FromString(self._call(self._metadata, request))
        return {tensor.name: tensor.datatype for tensor in response.inputs}

    def inputs(self) -> Inputs:
        """What the model takes of an event, and under which names."""
        request = oip_pb2.ModelConfigRequest(name=self.pipeline).SerializeToString()
        config = oip_pb2.ModelConfigResponse.FromString(self._call(self._config, request)).config
        said = {name: parameter.string_value for name, parameter in config.parameters.items()}
        return Inputs(
            features={each.name: _DATATYPES[each.data_type] for each in config.input},
            id=said["id"],
            event_time=said["event_time"],
            timestamps=frozenset(json.loads(said["timestamps"])),
        )

    def _call(self, method: Any, request: bytes) -> bytes:
        try:
            response: bytes = method(request, timeout=self._seconds)
        except grpc.RpcError as error:
            raise fault_of(error) from error
        return response


def request_of(
    pipeline: str,
    rows: Sequence[Row],
    *,
    ids: Sequence[str] | None = None,
    event_times: Sequence[datetime | int] | None = None,
    version: int | None = None,
) -> oip_pb2.ModelInferRequest:
    """The request for some rows: a tensor for each feature that any of them has.

    >>> request = request_of("churn", [{"plan": "pro", "age": 41}, {"age": None}])
    >>> [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in request.inputs]
    [('plan', 'BYTES', [2]), ('age', 'FP64', [2])]
    """
    request = oip_pb2.ModelInferRequest(
        model_name=pipeline, model_version="" if version is None else str(version)
    )
    for output in ("scores", "model_version", "role", "id"):
        request.outputs.add(name=output)
    names = dict.fromkeys(name for row in rows for name in row)
    columns: dict[str, Sequence[Value]] = {name: [row.get(name) for row in rows] for name in names}
    for name, values in columns.items():
        _add(request, name, values)
    times = [_milliseconds(time) for time in event_times or ()]
    if len(rows) == 1:
        # A field and a parameter, which no feature's name can stand in the way of.
        request.id = ids[0] if ids else ""
        if times:
            request.parameters["event_time"].int64_param = times[0]
    else:
        if ids:
            _add(request, "id", ids)
        if times:
            tensor = request.inputs.add(name="event_time", datatype="INT64", shape=[len(times)])
            tensor.contents.int64_contents.extend(times)
    if not request.inputs:
        raise ValueError("rows without any value cannot be sent: give at least one feature")
    return request


def _milliseconds(time: datetime | int) -> int:
    if isinstance(time, datetime):
        return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
    return time


def _add(request: oip_pb2.ModelInferRequest, name: str, values: Sequence[Value]) -> None:
    there = [value for value in values if value is not None]
    if not there:
        return
    if all(isinstance(value, str | datetime) for value in there):
        # An empty element is the sign for a missing one.
        texts = ["" if value is None else _text(value) for value in values]
        tensor = request.inputs.add(name=name, datatype="BYTES", shape=[len(values)])
        tensor.contents.bytes_contents.extend(text.encode() for text in texts)
    elif all(isinstance(value, bool) for value in there) and len(there) == len(values):
        tensor = request.inputs.add(name=name, datatype="BOOL", shape=[len(values)])
        tensor.contents.bool_contents.extend(bool(value) for value in there)
    elif all(isinstance(value, int | float | np.number) for value in there):
        numbers = [math.nan if value is None else float(value) for value in values]  # type: ignore[arg-type]  # checked above
        tensor = request.inputs.add(name=name, datatype="FP64", shape=[len(values)])
        tensor.contents.fp64_contents.extend(numbers)
    else:
        kinds = ", ".join(sorted({type(value).__name__ for value in there}))
        raise TypeError(f"feature {name!r} has values of types {kinds}, expected one kind in all rows")


def _text(value: Value) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def predictions_of(response: oip_pb2.ModelInferResponse) -> list[Prediction]:
    """The rows of a response that has all four outputs in typed form."""
    scores, versions, roles, ids = response.outputs
    rows, width = scores.shape
    values = list(scores.contents.fp32_contents)
    epoch = response.parameters["route_epoch"].int64_param
    return [
        Prediction(
            id=ids.contents.bytes_contents[row].decode(),
            scores=tuple(values[row * width : (row + 1) * width]),
            version=versions.contents.int64_contents[row],
            role=roles.contents.bytes_contents[row].decode(),
            epoch=epoch,
        )
        for row in range(rows)
    ]


def fault_of(error: Any) -> Fault:
    """What a failed call said, its field violations included."""
    violations: list[Violation] = []
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                bad = error_details_pb2.BadRequest()
                if detail.Unpack(bad):
                    violations += [Violation(each.field, each.description) for each in bad.field_violations]
    return Fault(error.code().name, error.details() or error.code().name, violations=violations)
