"""The door of the server: is there room for a call, and may its caller ask? Before anything of it is read.

grpc's own limit of calls at once refuses without a word of when to come again, and counts a probe of the
health service among them. Here calls of our own service are counted alone, from when they come until they
have ended, and one too many is refused with RESOURCE_EXHAUSTED and google.rpc.RetryInfo.

A server that stops would lose the calls that wait in grpc until it looks at them, which it does one after
the other: of 32 in flight, 31 were cancelled. So before it stops, calls are let in and held up, until no more
come. Then grpc tells its clients to go elsewhere, and those who were held up are answered.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from penstock.inference.faults import Fault
from penstock.inference.rpc import grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from penstock.inference.security import Tokens

    Refuse = Callable[[Any, str, Fault], Awaitable[None]]

RETRY_SECONDS: Final = 0.1
"""When to come again: by then a thousand calls, which is as many as are let in, have had their answer."""
QUIET_SECONDS: Final = 0.02
"""When nobody has come for so long, everybody is in."""
CLOSING_SECONDS: Final = 0.5
"""How long that is waited for, at most: clients of their own will keep coming."""
_OPEN: Final = "/grpc.health.v1.Health/"
"""For everybody who can connect: whoever asks whether this server lives has no token."""


class Behind:
    """Stands for a server where services are added to one: what they add can then be put behind the door.

    A server itself would also keep them by the paths of their methods, which it looks up first of all.
    """

    def __init__(self) -> None:
        self.handlers: tuple[Any, ...] = ()

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        self.handlers = (*self.handlers, *handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """They are among the generic ones as well."""


class Door(grpc.GenericRpcHandler):  # type: ignore[misc]  # the library has no types
    """The handlers of our service; it is to be the first of a server's, since it may refuse any call.

    Args:
        handlers: by the path of their method.
        most: calls at once.
        tokens: of whom to let in; everybody where there are none.
        refuse: answers with a fault, given the call's context and method.
    """

    def __init__(
        self, handlers: Mapping[str, Any], *, most: int, tokens: Tokens | None, refuse: Refuse
    ) -> None:
        self.inside = 0
        """Calls that have not ended yet."""
        self._came = 0
        self._held: asyncio.Event | None = None
        self._handlers = handlers
        self._most = most
        self._tokens = tokens
        self._refuse = refuse

    def service(self, details: Any) -> Any:
        """The handler for a call, in the call's own task; None where the call is somebody else's."""
        method = details.method
        if self._tokens is not None and not method.startswith(_OPEN):
            try:
                self._tokens.admit(details.invocation_metadata)
            except Fault as fault:
                return self._refusing(method, fault)
        handler = self._handlers.get(method)
        if handler is None:
            return None
        if self.inside >= self._most:
            message = f"this server has {self._most} calls in hand, which is as many as it takes"
            return self._refusing(method, Fault("RESOURCE_EXHAUSTED", message, retry=RETRY_SECONDS))
        task = asyncio.current_task()
        if task is not None:  # a call always has one
            self.inside += 1
            self._came += 1
            task.add_done_callback(self._left)
        return handler if self._held is None else _after(self._held, handler)

    async def close(self) -> None:
        """Hold up who comes from now on, and return when all have come."""
        self._held = asyncio.Event()
        until = asyncio.get_running_loop().time() + CLOSING_SECONDS
        before = -1
        while before != self._came and asyncio.get_running_loop().time() < until:
            before = self._came
            await asyncio.sleep(QUIET_SECONDS)

    def release(self) -> None:
        """Let those go on who were held up."""
        if self._held is not None:
            self._held.set()

    def _left(self, _: object) -> None:
        self.inside -= 1

    def _refusing(self, method: str, fault: Fault) -> Any:
        async def refuse(_: Any, context: Any) -> None:
            await self._refuse(context, method.lstrip("/"), fault)

        # On the wire a call that is refused before it is read looks the same, whatever it was to be.
        return grpc.stream_stream_rpc_method_handler(refuse)


def _after(event: asyncio.Event, handler: Any) -> Any:
    """A handler that waits for something before it begins."""

    async def unary(request: bytes, context: Any) -> bytes:
        await event.wait()
        answer: bytes = await handler.unary_unary(request, context)
        return answer

    async def stream(requests: Any, context: Any) -> None:
        await event.wait()
        await handler.stream_stream(requests, context)

    if handler.stream_stream is None:
        return grpc.unary_unary_rpc_method_handler(unary)
    return grpc.stream_stream_rpc_method_handler(stream)
