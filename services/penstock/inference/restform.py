"""Requests and responses as the Open Inference Protocol writes them in JSON, to and from its protobuf.

A tensor's values are a list, nested as its shape is or flat. JSON has no NaN: null is a missing value, in a
tensor of FP32, FP64 or BYTES.
"""

from __future__ import annotations

from itertools import chain
from math import nan
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from penstock.contracts import oip_pb2
from penstock.inference.faults import Fault, Violation, wrong
from penstock.inference.tensors import CONTENTS
from penstock.kernel.mistakes import show

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence

    from penstock.contracts.oip_pb2 import InferParameter

_DEEPEST: Final = 8
_KINDS: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "bool_contents": ((bool,), "true or false"),
    "int_contents": ((int,), "a whole number"),
    "int64_contents": ((int,), "a whole number"),
    "uint_contents": ((int,), "a whole number"),
    "uint64_contents": ((int,), "a whole number"),
    "fp32_contents": ((int, float), "a number"),
    "fp64_contents": ((int, float), "a number"),
    "bytes_contents": ((str,), "text"),
}
"""By the field of InferTensorContents: what its values are in JSON."""
_MISSING: Final = {"fp32_contents": nan, "fp64_contents": nan, "bytes_contents": ""}


def request_of(value: bytes) -> bytes:
    """The ModelInferRequest that a JSON object asks for, with typed contents.

    Raises:
        Fault: INVALID_ARGUMENT, naming what is no part of a request.

    >>> body = b'{"id": "a", "inputs": [{"name": "age", "datatype": "FP32", "shape": [1], "data": [41]}]}'
    >>> message = oip_pb2.ModelInferRequest.FromString(request_of(body))
    >>> message.id, message.inputs[0].contents.fp32_contents[:]
    ('a', [41.0])
    """
    try:
        body = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Fault("INVALID_ARGUMENT", f"the record is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise Fault("INVALID_ARGUMENT", f"the record is {show(body)}, expected a JSON object")
    message = oip_pb2.ModelInferRequest()
    for name in ("model_name", "model_version", "id"):
        word = body.get(name, "")
        if not isinstance(word, str):
            raise _no(name, word, "text")
        setattr(message, name, word)
    _take_parameters(message.parameters, body.get("parameters", {}), "parameters")
    for place, raw in enumerate(_items(body.get("inputs", []), "inputs")):
        _add_input(message, raw, f"inputs[{place}]")
    for place, raw in enumerate(_items(body.get("outputs", []), "outputs")):
        message.outputs.add(name=_word(raw, "name", f"outputs[{place}]"))
    return message.SerializeToString()


def response_of(response: bytes) -> bytes:
    """A ModelInferResponse with typed contents as JSON."""
    message = oip_pb2.ModelInferResponse.FromString(response)
    body: dict[str, Any] = {"model_name": message.model_name}
    if message.model_version:
        body["model_version"] = message.model_version
    body |= {"id": message.id, "parameters": _plain(message.parameters), "outputs": []}
    for tensor in message.outputs:
        values = getattr(tensor.contents, CONTENTS[tensor.datatype])
        data: Any = list(values)
        if tensor.datatype == "FP32":
            data = np.array(values, dtype=np.float32)  # which is written with as many digits as it has
        elif tensor.datatype == "BYTES":
            data = [each.decode() for each in values]
        shown = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
            "data": data,
        }
        if tensor.parameters:
            shown["parameters"] = _plain(tensor.parameters)
        body["outputs"].append(shown)
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def error_of(fault: Fault) -> bytes:
    """A fault as JSON.

    >>> error_of(Fault("NOT_FOUND", "no such pipeline"))
    b'{"error":{"code":"NOT_FOUND","message":"no such pipeline"}}'
    """
    error: dict[str, Any] = {"code": fault.code, "message": fault.message}
    if fault.violations:
        error["violations"] = [
            {"field": field, "description": description} for field, description in fault.violations
        ]
    return orjson.dumps({"error": error})


def id_of(value: bytes) -> str:
    """The id of a request that may be wrong in all else; empty where none can be read."""
    try:
        body = orjson.loads(value)
    except orjson.JSONDecodeError:
        return ""
    found = body.get("id") if isinstance(body, dict) else None
    return found if isinstance(found, str) else ""


def _add_input(message: oip_pb2.ModelInferRequest, raw: Any, where: str) -> None:
    name, datatype = _word(raw, "name", where), _word(raw, "datatype", where)
    shape = raw.get("shape")
    if not isinstance(shape, list) or not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        raise wrong(name, f"has the shape {show(shape)}, expected a list of sizes")
    field = CONTENTS.get(datatype)
    if field is None:
        raise wrong(name, f"has datatype {datatype!r}, expected one of {', '.join(CONTENTS)}")
    data = raw.get("data")
    if not isinstance(data, list):
        raise wrong(name, f"has the data {show(data)}, expected a list")
    values, missing = _flat(data), _MISSING.get(field)
    if missing is not None:
        values = [missing if value is None else value for value in values]
    kinds, expected = _KINDS[field]
    for place, value in enumerate(values):
        if type(value) not in kinds:
            raise wrong(name, f"has {show(value)} at place {place}, expected {expected}")
    tensor = message.inputs.add(name=name, datatype=datatype, shape=shape)
    try:
        contents = getattr(tensor.contents, field)
        contents.extend([value.encode() for value in values] if datatype == "BYTES" else values)
    except (ValueError, OverflowError) as error:
        raise wrong(name, f"has a value that is no {datatype}: {error}") from error


def _flat(values: list[Any]) -> list[Any]:
    for _ in range(_DEEPEST):
        if not values or not all(isinstance(value, list) for value in values):
            break
        values = list(chain.from_iterable(values))
    return values


def _take_parameters(parameters: MutableMapping[str, InferParameter], raw: Any, where: str) -> None:
    if not isinstance(raw, dict):
        raise _no(where, raw, "a JSON object")
    for name, value in raw.items():
        match value:
            case bool():
                parameters[name].bool_param = value
            case int() if -(2**63) <= value < 2**63:
                parameters[name].int64_param = value
            case int():
                raise _no(f"{where}.{name}", value, "a number of 64 bits")
            case float():
                parameters[name].double_param = value
            case str():
                parameters[name].string_param = value
            case _:
                raise _no(f"{where}.{name}", value, "true, false, a number or text")


def _plain(parameters: Mapping[str, InferParameter]) -> dict[str, Any]:
    found = {}
    for name, parameter in sorted(parameters.items()):
        choice = parameter.WhichOneof("parameter_choice")
        found[name] = getattr(parameter, choice) if choice else None
    return found


def _items(raw: Any, where: str) -> Sequence[Any]:
    if not isinstance(raw, list):
        raise _no(where, raw, "a list")
    return raw


def _word(raw: Any, field: str, where: str) -> str:
    if not isinstance(raw, dict):
        raise _no(where, raw, "a JSON object")
    word = raw.get(field)
    if not isinstance(word, str):
        raise _no(f"{where}.{field}", word, "text")
    return word


def _no(field: str, value: object, expected: str) -> Fault:
    return Fault(
        "INVALID_ARGUMENT", violations=[Violation(field, f"{field} is {show(value)}, expected {expected}")]
    )
