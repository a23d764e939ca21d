"""A server that answers as it is told, and remembers what it was asked."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import grpc  # type: ignore[import-untyped]  # it ships no types
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # nor does this

from penstock.contracts import oip_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Refuses:
    """A status, and what comes with it."""

    def __init__(
        self,
        code: str,
        message: str = "not now",
        *,
        again: float | None = None,
        fields: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.code = grpc.StatusCode[code]
        self.message = message
        details = []
        if again is not None:
            delay = Duration()
            delay.FromMilliseconds(round(again * 1000))
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        if fields:
            violation = error_details_pb2.BadRequest.FieldViolation
            violations = [violation(field=field, description=text) for field, text in fields]
            details.append(error_details_pb2.BadRequest(field_violations=violations))
        packed = [AnyMessage() for _ in details]
        for place, detail in zip(packed, details, strict=True):
            place.Pack(detail)
        status = status_pb2.Status(code=self.code.value[0], message=message, details=packed)
        self.trailing = (("grpc-status-details-bin", status.SerializeToString()),) if details else ()


class Scripted:
    """Answers each call by the next word of its script; where that is at its end, with a score of 0.5.

    Args:
        script: what refuses the first calls; for None the call is answered.
        tls: certificate, key and, where clients are to have certificates too, their authority.
    """

    def __init__(self, *script: Refuses | None, port: int = 0, tls: tuple[Path, ...] = ()) -> None:
        self.asked: list[oip_pb2.ModelInferRequest] = []
        self.times: list[float] = []
        self.metadata: list[dict[str, str]] = []
        self.ends_stream_after = -1
        self._script = list(script)
        self._server = grpc.server(ThreadPoolExecutor(max_workers=4))
        handlers = {
            "ModelInfer": grpc.unary_unary_rpc_method_handler(self._infer),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(self._stream),
        }
        service = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers)
        self._server.add_generic_rpc_handlers((service,))
        where = f"127.0.0.1:{port}"
        if tls:
            certificate, key, *authority = (file.read_bytes() for file in tls)
            credentials = grpc.ssl_server_credentials(
                [(key, certificate)],
                root_certificates=authority[0] if authority else None,
                require_client_auth=bool(authority),
            )
            self.port = self._server.add_secure_port(where, credentials)
        else:
            self.port = self._server.add_insecure_port(where)
        self.address = f"127.0.0.1:{self.port}"
        self._server.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0).wait()

    @property
    def ids(self) -> list[str]:
        """Of every request, in the order in which they came."""
        return [request.id for request in self.asked]

    def _infer(self, body: bytes, context: Any) -> bytes:
        self.times.append(time.monotonic())
        self.metadata.append(dict(context.invocation_metadata()))
        request = oip_pb2.ModelInferRequest.FromString(body)
        self.asked.append(request)
        said = self._script.pop(0) if self._script else None
        if said is not None:
            context.set_trailing_metadata(said.trailing)
            context.abort(said.code, said.message)
        return answer(request).SerializeToString()

    def _stream(self, bodies: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for count, body in enumerate(bodies):
            if count == self.ends_stream_after:
                return
            request = oip_pb2.ModelInferRequest.FromString(body)
            self.asked.append(request)
            said = self._script.pop(0) if self._script else None
            if said is None:
                reply = oip_pb2.ModelStreamInferResponse(infer_response=answer(request))
            elif said.code is grpc.StatusCode.UNAVAILABLE:
                context.abort(said.code, said.message)
            else:
                reply = oip_pb2.ModelStreamInferResponse(error_message=f"{said.code.name}: {said.message}")
            yield reply.SerializeToString()


def answer(request: oip_pb2.ModelInferRequest) -> oip_pb2.ModelInferResponse:
    rows = request.inputs[0].shape[0]
    ids = [tensor for tensor in request.inputs if tensor.name == "id"]
    names = [request.id] if rows == 1 else [f"{request.id}/{row}" for row in range(rows)]
    response = oip_pb2.ModelInferResponse(model_name=request.model_name)
    response.parameters["route_epoch"].int64_param = 9
    for name, datatype, shape in (
        ("scores", "FP32", [rows, 1]),
        ("model_version", "INT64", [rows]),
        ("role", "BYTES", [rows]),
        ("id", "BYTES", [rows]),
    ):
        tensor = response.outputs.add(name=name, datatype=datatype, shape=shape)
        match name:
            case "scores":
                tensor.contents.fp32_contents.extend([0.5] * rows)
            case "model_version":
                tensor.contents.int64_contents.extend([3] * rows)
            case "role":
                tensor.contents.bytes_contents.extend([b"champion"] * rows)
            case "id":
                given = ids[0].contents.bytes_contents if ids else [each.encode() for each in names]
                tensor.contents.bytes_contents.extend(given)
    return response
