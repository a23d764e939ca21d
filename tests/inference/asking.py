"""A pipeline to ask, and requests as a client would build them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.contracts import oip_pb2
from penstock.contracts.records import RouteChanged
from penstock.inference.domain import Loaded, Serving
from penstock.inference.oip import Chance
from penstock.kernel.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

PIPELINE = Pipeline.read(
    {
        "pipeline": "trips",
        "task": "binary",
        "events": {"topic": "city.starts", "id": "id", "time": "t"},
        "labels": {"topic": "city.ends", "id": "id", "time": "t", "value": "late", "horizon": "2h"},
        "features": {
            "distance": {"number": {"max": 100}},
            "line": {"category": ["red", "green"]},
            "rush": "boolean",
            "hour": {"hour": "t"},
            "planned_hour": {"hour": "planned"},
        },
    }
)
NAMES = PIPELINE.feature_names
NOON = 1_357_041_600_000  # 2013-01-01T12:00:00Z
CHANCE = Chance(now=NOON, new_id=lambda: "made-up")

RAW = {
    "BOOL": "?",
    "INT64": "<i8",
    "INT32": "<i4",
    "UINT8": "<u1",
    "FP32": "<f4",
    "FP64": "<f8",
    "FP16": "<f2",
}
TYPED = {
    "BOOL": "bool_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


class Adds:
    """A model one can follow: its score is the sum of the row, missing values being 0, plus `offset`."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def run(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        total: NDArray[np.float32] = np.nansum(matrix, axis=1, keepdims=True).astype(np.float32)
        return total + np.float32(self.offset)


class Breaks:
    """A model that fails on every row."""

    def run(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        raise RuntimeError(f"no\nluck with {len(matrix)} rows")


class Nans:
    """A model that has no answer for rows whose first value is missing."""

    def run(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        return matrix[:, :1]


def route(**changes: Any) -> RouteChanged:
    """Version 1 is champion, nothing else happens."""
    values: dict[str, Any] = {
        "pipeline": "trips",
        "epoch": 7,
        "champion": 1,
        "canary": None,
        "share": 0.0,
        "salt": "salt",
        "shadows": (),
        "decision": "",
        "causes": (),
    }
    return RouteChanged(**values | changes)


def serving(*models: Any, features: Sequence[str] = NAMES, **changes: Any) -> Serving:
    """The models as versions 1, 2, …; `changes` are the route's."""
    loaded = {
        version: Loaded(version=version, features=tuple(features), model=model)
        for version, model in enumerate(models or [Adds()], 1)
    }
    return Serving(pipeline=PIPELINE, route=route(**changes), models=loaded)


def request(  # noqa: D417 - what the protocol calls them
    tensors: Mapping[str, tuple[str, Sequence[int], Sequence[Any]]],
    *,
    raw: bool = True,
    parameters: Mapping[str, str | int] | None = None,
    outputs: Sequence[str] = (),
    **fields: str,
) -> bytes:
    """A ModelInferRequest.

    Args:
        tensors: name → datatype, shape and values.
        raw: which of the two forms to use.
    """
    message = oip_pb2.ModelInferRequest(**{"model_name": "trips", **fields})  # type: ignore[arg-type]  # all text
    for name, value in (parameters or {}).items():
        if isinstance(value, str):
            message.parameters[name].string_param = value
        else:
            message.parameters[name].int64_param = value
    for output in outputs:
        message.outputs.add(name=output)
    for name, (datatype, shape, values) in tensors.items():
        tensor = message.inputs.add(name=name, datatype=datatype, shape=shape)
        if not raw:
            getattr(tensor.contents, TYPED[datatype]).extend(values)
        elif datatype == "BYTES":
            packed = b"".join(struct.pack("<I", len(value)) + value for value in values)
            message.raw_input_contents.append(packed)
        else:
            message.raw_input_contents.append(np.array(values, dtype=RAW[datatype]).tobytes())
    return message.SerializeToString()


def packed(*rows: Sequence[float], **others: Any) -> bytes:
    """Rows of codes in one tensor."""
    shape = [len(rows), len(rows[0])]
    return request({"features": ("FP32", shape, [value for row in rows for value in row])}, **others)


def response(answer: object) -> oip_pb2.ModelInferResponse:
    assert isinstance(answer, bytes), answer
    return oip_pb2.ModelInferResponse.FromString(answer)


def scores_of(message: oip_pb2.ModelInferResponse) -> list[list[float]]:
    """The scores, whichever form they came in."""
    place = [output.name for output in message.outputs].index("scores")
    output = message.outputs[place]
    assert output.datatype == "FP32"
    flat = (
        np.frombuffer(message.raw_output_contents[place], dtype="<f4")
        if message.raw_output_contents
        else np.array(output.contents.fp32_contents, dtype=np.float32)
    )
    found: list[list[float]] = flat.reshape(tuple(output.shape)).tolist()
    return found
