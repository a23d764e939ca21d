"""The door of the server: is there room for a call, and may its caller ask? Before anything of it is read.

grpc's own limit of calls at once refuses without a word of when to come again, and counts a probe of the
health service among them. Here calls of our own service are counted alone, from when they come until they
have ended, and one too many is refused with RESOURCE_EXHAUSTED and google.rpc.RetryInfo.
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
            task.add_done_callback(self._left)
        return handler

    def _left(self, _: object) -> None:
        self.inside -= 1

    def _refusing(self, method: str, fault: Fault) -> Any:
        async def refuse(_: Any, context: Any) -> None:
            await self._refuse(context, method.lstrip("/"), fault)

        # On the wire a call that is refused before it is read looks the same, whatever it was to be.
        return grpc.stream_stream_rpc_method_handler(refuse)
