"""A fault as google.rpc.Status: its code as a number, and details that tools read, without grpc."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]  # they ship no types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

    from penstock.inference.faults import Fault


def status(fault: Fault) -> bytes:
    """The bytes of the google.rpc.Status: BadRequest names what to mend, RetryInfo says when to come again.

    >>> from penstock.inference.faults import wrong
    >>> found = status_pb2.Status.FromString(status(wrong("wind", "is BYTES, expected a number")))
    >>> found.code, found.message, len(found.details)
    (3, "tensor 'wind' is BYTES, expected a number", 1)
    """
    packed = []
    for each in _details(fault):
        detail = AnyMessage()
        detail.Pack(each)
        packed.append(detail)
    code = code_pb2.Code.Value(fault.code)
    written: bytes = status_pb2.Status(code=code, message=fault.message, details=packed).SerializeToString()
    return written


def _details(fault: Fault) -> Iterator[Message]:
    if fault.violations:
        yield error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
                for field, description in fault.violations
            ]
        )
    if fault.retry is not None:
        seconds, rest = divmod(fault.retry, 1)
        yield error_details_pb2.RetryInfo(
            retry_delay=Duration(seconds=int(seconds), nanos=round(rest * 1_000_000_000))
        )
