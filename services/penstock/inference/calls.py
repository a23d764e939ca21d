"""A call as the transport sees it: what its caller passed beside the request, and how it is refused."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from penstock.inference.faults import Fault
from penstock.inference.oip import PIN
from penstock.inference.rpc import grpc
from penstock.inference.statuses import status

if TYPE_CHECKING:
    from penstock.runtime.broker import Headers

    Metadata = tuple[tuple[str, str | bytes], ...]

_DETAILS: Final = "grpc-status-details-bin"
_PUSHBACK: Final = "grpc-retry-pushback-ms"
"""What a client with a retry policy waits by; those without one read RetryInfo."""


class Call:
    """What a caller passed beside its request, and when."""

    __slots__ = (
        "_began",
        "context",
        "headers",
        "method",
        "pin",
        "reading",
        "task",
        "traceparent",
        "trailing",
    )

    def __init__(self, context: Any, method: str) -> None:
        self._began = time.perf_counter()
        self.context = context
        self.method = method
        self.traceparent: str | None = None
        self.pin = ""
        self.task: asyncio.Task[Any] | None = None
        """Of a stream, what serves it."""
        self.reading = False
        """Of a stream, whether the next message is waited for."""
        self.trailing: Metadata = ()
        self.headers: Headers = ()
        """By which the records written for this call name it."""
        for key, value in context.invocation_metadata() or ():
            if key == "traceparent":
                self.traceparent = value
                self.headers += ((key, value.encode()),)
            elif key == PIN:
                self.pin = value
            elif key == "x-request-id":
                self.trailing = ((key, value),)
                self.headers += ((key, value.encode()),)
                context.set_trailing_metadata(self.trailing)

    @property
    def remaining(self) -> float | None:
        """Seconds that the caller waits yet; None for ever."""
        seconds: float | None = self.context.time_remaining()
        return seconds

    def in_time(self) -> None:
        """Raise `Fault` where nobody waits for the answer any more."""
        remaining = self.remaining
        if remaining is not None and remaining <= 0:
            raise Fault("DEADLINE_EXCEEDED", "the deadline had passed before the rows were scored")

    @property
    def seconds(self) -> float:
        """Since the call came."""
        return time.perf_counter() - self._began

    async def abort(self, fault: Fault) -> None:
        """Answer with the fault's status, in the forms that tools read; raises what ends the call."""
        code = grpc.StatusCode[fault.code]
        await self.context.abort(code, fault.message, (*self.trailing, *trailing(fault)))


def trailing(fault: Fault) -> Metadata:
    """What a status carries beside its code and its message.

    >>> [key for key, _ in trailing(Fault("RESOURCE_EXHAUSTED", "too many", retry=0.1))]
    ['grpc-status-details-bin', 'grpc-retry-pushback-ms']
    >>> trailing(Fault("NOT_FOUND", "no pipeline 'x'"))
    ()
    """
    if not fault.violations and fault.retry is None:  # nothing beside the code and the message
        return ()
    pushback = () if fault.retry is None else ((_PUSHBACK, str(round(fault.retry * 1000))),)
    return ((_DETAILS, status(fault)), *pushback)
