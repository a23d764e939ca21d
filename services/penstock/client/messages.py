"""The protocol's messages: requests made of rows, predictions read from responses."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from penstock.client.errors import PenstockError
from penstock.client.results import Explanation, Inputs, Prediction
from penstock.client.rows import Table, Time, milliseconds
from penstock.contracts import oip_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

Parameters = Mapping[str, str | bool | int | float]
OUTPUTS: Final = ("scores", "model_version", "role", "id")
_DATATYPES: Final = {oip_pb2.TYPE_STRING: "BYTES", oip_pb2.TYPE_BOOL: "BOOL", oip_pb2.TYPE_FP32: "FP32"}
_CONTENTS: Final = {"FP32": "fp32_contents", "INT64": "int64_contents", "BYTES": "bytes_contents"}


def request_of(
    pipeline: str,
    rows: Table,
    *,
    id: str | Sequence[str],  # noqa: A002 - the protocol's word, and everybody's
    event_time: Time | Sequence[Time] | None = None,
    version: int | None = None,
    explain: bool = False,
    parameters: Mapping[str, str | bool | int | float] | None = None,
) -> oip_pb2.ModelInferRequest:
    """The request for some rows: a tensor for each feature that any of them has.

    Raises:
        TypeError: a value cannot be sent, or a feature's values are of several kinds.
        ValueError: no row has a value, or there are more or fewer ids or times than rows.

    >>> from penstock.client.rows import table
    >>> request = request_of("churn", table([{"plan": "pro", "age": 41}, {"age": None}]), id="x")
    >>> [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in request.inputs]
    [('plan', 'BYTES', [2]), ('age', 'FP64', [2])]
    """
    request = oip_pb2.ModelInferRequest(
        model_name=pipeline, model_version="" if version is None else str(version)
    )
    for output in OUTPUTS:
        request.outputs.add(name=output)
    for name, values in rows.columns.items():
        _add(request, name, values)
    if not request.inputs:
        raise ValueError("rows without any value cannot be sent: give at least one feature")
    for name, value in (parameters or {}).items():
        _set(request.parameters[name], name, value)
    if explain:
        request.parameters["explain"].bool_param = True
    _identify(request, rows.size, id)
    _date(request, rows.size, event_time)
    return request


def _identify(request: oip_pb2.ModelInferRequest, count: int, id_: str | Sequence[str]) -> None:
    if isinstance(id_, str):
        request.id = id_
        return
    ids = _as_many("id", count, id_)
    if count == 1:
        request.id = ids[0]  # a field, which no feature's name can stand in the way of
    else:
        _add(request, "id", ids)


def _date(request: oip_pb2.ModelInferRequest, count: int, time: Time | Sequence[Time] | None) -> None:
    if time is None:
        return
    if isinstance(time, int | datetime):
        request.parameters["event_time"].int64_param = milliseconds(time)
        return
    times = _as_many("event_time", count, time)
    if count == 1:
        request.parameters["event_time"].int64_param = milliseconds(times[0])
    else:
        tensor = request.inputs.add(name="event_time", datatype="INT64", shape=[count])
        tensor.contents.int64_contents.extend(map(milliseconds, times))


def _as_many(name: str, count: int, values: Sequence[Any]) -> Sequence[Any]:
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} items for {count} rows")
    return values


def _set(parameter: oip_pb2.InferParameter, name: str, value: Any) -> None:
    match value:
        case bool():
            parameter.bool_param = value
        case int():
            parameter.int64_param = value
        case float():
            parameter.double_param = value
        case str():
            parameter.string_param = value
        case _:
            kind = type(value).__name__
            raise TypeError(f"parameter {name!r} is a {kind}, expected text, a number, or true or false")


def _add(request: oip_pb2.ModelInferRequest, name: str, values: Sequence[Any]) -> None:
    there = [value for value in values if value is not None]
    if not there:
        return
    if all(isinstance(value, str | datetime) for value in there):
        # An empty element is the sign for a missing one.
        texts = ["" if value is None else _text(value) for value in values]
        tensor = request.inputs.add(name=name, datatype="BYTES", shape=[len(values)])
        tensor.contents.bytes_contents.extend(text.encode() for text in texts)
    elif len(there) == len(values) and all(isinstance(value, bool) for value in there):
        tensor = request.inputs.add(name=name, datatype="BOOL", shape=[len(values)])
        tensor.contents.bool_contents.extend(there)
    elif (numbers := _numbers(values)) is not None:
        tensor = request.inputs.add(name=name, datatype="FP64", shape=[len(values)])
        tensor.contents.fp64_contents.extend(numbers)
    else:
        kinds = ", ".join(sorted({type(value).__name__ for value in there}))
        raise TypeError(
            f"feature {name!r} has values of type {kinds}, expected text, numbers, or true and false; one "
            "kind in all rows"
        )


def _numbers(values: Sequence[Any]) -> list[float] | None:
    """Numbers, missing ones as NaN; None where some are none. NumPy's and decimal ones are numbers too."""
    if any(isinstance(value, str | datetime | bytes) for value in values):
        return None
    if len({isinstance(value, bool) for value in values if value is not None}) > 1:
        return None
    try:
        return [math.nan if value is None else float(value) for value in values]
    except (TypeError, ValueError):
        return None


def _text(value: str | datetime) -> str:
    return value.isoformat() if isinstance(value, datetime) else value


def predictions_of(answer: bytes) -> list[Prediction]:
    """The rows of an answer to such a request.

    Raises:
        PenstockError: INTERNAL, where an output is not there.
    """
    return _predictions(oip_pb2.ModelInferResponse.FromString(answer))


def _predictions(response: oip_pb2.ModelInferResponse) -> list[Prediction]:
    found = {tensor.name: tensor for tensor in response.outputs}
    if missing := [name for name in OUTPUTS if name not in found]:
        raise PenstockError("INTERNAL", f"the answer lacks the output {missing[0]!r}: is that a Penstock?")
    scores = list(_lines(found["scores"]))
    versions, roles, ids = (_values(found[name]) for name in OUTPUTS[1:])
    why = found.get("attributions")
    explanations = [()] * len(scores) if why is None else list(_explanations(why))
    epoch = response.parameters["route_epoch"].int64_param
    return [
        Prediction(
            id=id_.decode(), scores=row, version=version, role=role.decode(), epoch=epoch, explanations=told
        )
        for id_, row, version, role, told in zip(ids, scores, versions, roles, explanations, strict=True)
    ]


def _values(tensor: oip_pb2.ModelInferResponse.InferOutputTensor) -> list[Any]:
    return list(getattr(tensor.contents, _CONTENTS[tensor.datatype]))


def _lines(tensor: oip_pb2.ModelInferResponse.InferOutputTensor) -> Iterator[tuple[float, ...]]:
    """A matrix, or what it is with its last two axes, line by line."""
    values, width = _values(tensor), math.prod(tensor.shape[1:])
    for begin in range(0, len(values), width):
        yield tuple(values[begin : begin + width])


def _explanations(
    tensor: oip_pb2.ModelInferResponse.InferOutputTensor,
) -> Iterator[tuple[Explanation, ...]]:
    names = tensor.parameters["features"].string_param.split(",")
    scale, width = tensor.parameters["scale"].string_param, len(names) + 1
    for line in _lines(tensor):
        yield tuple(
            Explanation(
                base=line[begin + width - 1],
                attributions=dict(zip(names, line[begin : begin + width - 1], strict=True)),
                scale=scale,
            )
            for begin in range(0, len(line), width)
        )


def config_request(pipeline: str) -> bytes:
    return oip_pb2.ModelConfigRequest(name=pipeline).SerializeToString()


def inputs_of(answer: bytes) -> Inputs:
    """What the model takes of an event, and under which names."""
    config = oip_pb2.ModelConfigResponse.FromString(answer).config
    said = {name: parameter.string_value for name, parameter in config.parameters.items()}
    return Inputs(
        features={each.name: _DATATYPES[each.data_type] for each in config.input},
        id=said["id"],
        event_time=said["event_time"],
        timestamps=frozenset(json.loads(said["timestamps"])),
    )


def ready_request(pipeline: str) -> bytes:
    return oip_pb2.ModelReadyRequest(name=pipeline).SerializeToString()


def ready_of(answer: bytes) -> bool:
    return oip_pb2.ModelReadyResponse.FromString(answer).ready


def replied(reply: bytes, ids: Sequence[str]) -> list[Prediction]:
    """One message of a stream.

    Raises:
        PenstockError: its rows were refused.
    """
    message = oip_pb2.ModelStreamInferResponse.FromString(reply)
    if not message.error_message:
        return _predictions(message.infer_response)
    code, sign, text = message.error_message.partition(": ")
    if sign and code.isupper() and code.replace("_", "").isalpha():
        raise PenstockError(code, text, ids=ids)
    raise PenstockError("UNKNOWN", message.error_message, ids=ids)
