"""The gRPC server: the one place, beside the client, that knows grpc.

Bytes go in and come out: `penstock.inference.oip` and `.metadata` do the work, this module the transport:
status codes with google.rpc details, deadlines, x-request-id and traceparent, health, reflection, drain. Who
is let in, and how many, is a matter of `penstock.inference.door` and `.security`.
"""

from __future__ import annotations

import asyncio
import errno
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn
from uuid import uuid4

from penstock.contracts import oip_pb2
from penstock.inference.calls import Call
from penstock.inference.domain import Serving
from penstock.inference.door import Behind, Door
from penstock.inference.faults import Fault
from penstock.inference.metadata import CALLS
from penstock.inference.oip import Chance, answer, finish, read, varint
from penstock.inference.rpc import SERVICE, grpc, health, health_pb2, health_pb2_grpc, reflection
from penstock.inference.security import seen
from penstock.inference.slowly import Slowly
from penstock.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from penstock.inference.domain import Directory, Scored
    from penstock.inference.oip import Served
    from penstock.inference.security import Certificates, Tokens
    from penstock.runtime.broker import Headers
    from penstock.runtime.telemetry import Telemetry

__all__ = ["MESSAGE_LIMIT", "SERVICE", "Server"]

MESSAGE_LIMIT: Final = 4 * 2**20
"""Bytes of a request or a response: 60,000 rows of 17 features."""
BIG: Final = 64 * 2**10
"""Bytes of a request from which on it is scored in a thread: a small one costs less than the hand-over."""
_INFER: Final = f"{SERVICE}/ModelInfer"
_STREAM: Final = f"{SERVICE}/ModelStreamInfer"
SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
TURN_SECONDS: Final = 0.01
DRAIN_SECONDS: Final = 10.0
"""How long calls in flight may take after a stop was asked for."""


class Server:
    """ModelInfer and its companions on one address.

    Args:
        listen: ``HOST:PORT``; port 0 takes a free one.
        directory: what can be asked now; one reference, read once a call.
        log: told of every answer after it was given, with the headers that name its call.
        telemetry: told of every call.
        concurrency: calls at once; more are refused with RESOURCE_EXHAUSTED.
        certificates: for TLS; calls come in plain text where they are left out.
        tokens: of whom to let in; everybody where they are left out.
        slowly: scores what is too slow to be scored where calls are read, in one thread where it is left out.
    """

    def __init__(
        self,
        listen: str,
        *,
        directory: Callable[[], Directory],
        log: Callable[[Served, Headers], None],
        telemetry: Telemetry,
        concurrency: int,
        certificates: Certificates | None = None,
        tokens: Tokens | None = None,
        slowly: Slowly | None = None,
    ) -> None:
        self.ready = False
        self.port = 0
        self._listen = listen
        self._whole = directory
        self._directory = directory if tokens is None else self._seen
        self._certificates = certificates
        self._told: dict[str, bool] = {}
        self._stopping = False
        self._streams: set[Call] = set()
        self._record = log
        self._telemetry = telemetry
        self._slowly = slowly or Slowly()
        self._lines = logs.get(component="grpc")
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            options=[
                # Two processes on one port would share its calls unnoticed: the second is to fail.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", MESSAGE_LIMIT),
                ("grpc.max_send_message_length", MESSAGE_LIMIT),
            ],
        )
        # Handlers without serialisers get bytes and give bytes.
        handlers = {name: grpc.unary_unary_rpc_method_handler(self._companion(name)) for name in CALLS}
        handlers["ModelInfer"] = grpc.unary_unary_rpc_method_handler(self._infer)
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(self._stream)
        paths = {f"/{SERVICE}/{name}": handler for name, handler in handlers.items()}
        self.door = Door(paths, most=concurrency, tokens=tokens, refuse=self._turn_away)
        others = Behind()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, others)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, others)
        self._server.add_generic_rpc_handlers((self.door, *others.handlers))

    async def start(self) -> int:
        """Listen; the port.

        Raises:
            OSError: the address is taken, or not ours.
        """
        await self.announce(ready=False)
        try:
            if self._certificates is None:
                self.port = self._server.add_insecure_port(self._listen)
            else:
                self.port = self._server.add_secure_port(self._listen, self._certificates.credentials())
        except RuntimeError as error:
            why = "cannot listen there: it is taken by another process, or no address of this machine"
            raise OSError(errno.EADDRINUSE, why, self._listen) from error
        await self._server.start()
        return self.port

    async def announce(self, *, ready: bool) -> None:
        """Say by ServerReady and by the health service whether this process can be sent calls."""
        self.ready = ready
        for name in ("", SERVICE):
            await self._health.set(name, SERVING if ready else NOT_SERVING)

    def _seen(self) -> Directory:
        return seen(self._whole())

    async def look(self) -> None:
        """Say of each pipeline, under its name, whether it can be asked, where that has changed."""
        now = {name: isinstance(state, Serving) for name, state in self._whole().items()}
        for name in self._told.keys() - now.keys():
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        for name, serving in now.items():
            if self._told.get(name) is not serving:
                await self._health.set(name, SERVING if serving else NOT_SERVING)
        self._told = now

    async def stop(self, seconds: float = DRAIN_SECONDS) -> None:
        """Say NOT_SERVING first, take no new calls, finish those in flight."""
        self.ready = False
        await self._health.enter_graceful_shutdown()
        if seconds:
            await self.door.close()
        stopping = asyncio.ensure_future(self._server.stop(seconds))
        await asyncio.sleep(TURN_SECONDS)  # until it has begun
        self.door.release()
        self._stopping = True
        for stream in self._streams:
            if stream.reading and stream.task is not None:
                stream.task.cancel()  # what it waits for will not come in time
        await stopping
        await self._slowly.close(seconds)

    def _companion(self, name: str) -> Callable[[bytes, Any], Awaitable[bytes]]:
        call, method = CALLS[name], f"{SERVICE}/{name}"

        async def answer(request: bytes, context: Any) -> bytes:
            passed = Call(context, method)
            try:
                response = call(self._directory(), self.ready, request)
            except Fault as fault:
                await self._refuse(passed, fault)
            except Exception as error:  # noqa: BLE001 - a bug in one call must not end the others
                await self._refuse(passed, self._bug(error))
            self._telemetry.rpc(method, "OK", passed.seconds, traceparent=passed.traceparent)
            return response

        return answer

    async def _infer(self, request: bytes, context: Any) -> bytes:
        passed = Call(context, _INFER)
        try:
            passed.in_time()
            reply, served, whole = await self._score(request, passed)
        except Fault as fault:
            await self._refuse(passed, fault)
        except Exception as error:  # noqa: BLE001 - as above
            await self._refuse(passed, self._bug(error))
        if isinstance(reply, Fault):
            await self._refuse(passed, reply, served, whole)
        if self._telemetry.on:
            # In the loop's next turn, when the answer is on its way: a span takes 25 µs.
            asyncio.get_running_loop().call_soon(self._done, passed, "OK", passed.seconds, served, whole)
        else:
            self._log(served, passed.headers, whole)
        return reply

    async def _score(
        self, request: bytes, passed: Call
    ) -> tuple[bytes | Fault, Served, asyncio.Future[Scored] | None]:
        """The answer; what is logged of it; and the scores to log once slow shadows have given theirs."""
        chance = Chance(now=time.time_ns() // 1_000_000, new_id=_new_id)
        # What is big, or is to be explained, would hold up every other call.
        heavy = len(request) >= BIG
        if heavy:
            asked = await asyncio.to_thread(read, self._directory(), request, chance, passed.pin)
        else:
            asked = read(self._directory(), request, chance, passed.pin)
        heavy = heavy or asked.explain
        if not asked.serving.slow:
            return *(await asyncio.to_thread(answer, asked) if heavy else answer(asked)), None
        said = await self._slowly.score(asked, passed.remaining)
        if heavy:
            return *(await asyncio.to_thread(finish, asked, said.scored)), said.whole
        return *finish(asked, said.scored), said.whole

    async def _stream(self, _: Any, context: Any) -> None:
        """ModelInfer for each message; what is wrong with one is said in its place, and it goes on."""
        passed = Call(context, _STREAM)
        passed.task = asyncio.current_task()
        self._streams.add(passed)
        try:
            await self._converse(passed)
        except asyncio.CancelledError:
            if not (self._stopping and passed.reading):
                raise
        finally:
            self._streams.discard(passed)
        if self._stopping:
            await self._refuse(passed, Fault("UNAVAILABLE", "this server stops: open the stream anew"))
        self._telemetry.rpc(passed.method, "OK", passed.seconds, traceparent=passed.traceparent)

    async def _converse(self, passed: Call) -> None:
        """Until the caller has no more to ask, or this server stops."""
        context = passed.context
        while not self._stopping:
            passed.reading = True
            request = await context.read()
            passed.reading = False
            if request is grpc.aio.EOF:
                return
            served = None
            try:
                reply, served, whole = await self._score(request, passed)
            except Fault as fault:
                reply = fault
            except Exception as error:  # noqa: BLE001 - as above
                reply = self._bug(error)
            await context.write(_refused(reply) if isinstance(reply, Fault) else _framed(reply))
            if served is not None:
                self._log(served, passed.headers, whole)

    def _done(
        self,
        passed: Call,
        code: str,
        seconds: float,
        served: Served | None = None,
        whole: asyncio.Future[Scored] | None = None,
    ) -> None:
        ours = self._telemetry.rpc(passed.method, code, seconds, traceparent=passed.traceparent)
        if served is not None:
            # The span that answered stands for the one that asked.
            known = {key for key, _ in ours}
            self._log(served, ours + tuple(each for each in passed.headers if each[0] not in known), whole)

    def _log(self, served: Served, headers: Headers, whole: asyncio.Future[Scored] | None) -> None:
        if whole is None:
            self._record(served, headers)
            return

        def complete(done: asyncio.Future[Scored]) -> None:
            # It is given up where this server stops before the last shadow has scored.
            self._record(served if done.cancelled() else served._replace(scored=done.result()), headers)

        whole.add_done_callback(complete)

    async def _refuse(
        self,
        passed: Call,
        fault: Fault,
        served: Served | None = None,
        whole: asyncio.Future[Scored] | None = None,
    ) -> NoReturn:
        self._done(passed, fault.code, passed.seconds, served, whole)
        await passed.abort(fault)
        raise AssertionError("abort raises")

    async def _turn_away(self, context: Any, method: str, fault: Fault) -> None:
        """Refuse a call at the door: nobody has read what it asks."""
        await self._refuse(Call(context, method), fault)

    def _bug(self, error: Exception) -> Fault:
        self._lines.error("call_failed", exc_info=error)
        return Fault("INTERNAL", f"this is a bug in Penstock, and in its log: {type(error).__name__}")


def _new_id() -> str:
    return uuid4().hex


def _refused(fault: Fault) -> bytes:
    return oip_pb2.ModelStreamInferResponse(
        error_message=f"{fault.code}: {fault.message}"
    ).SerializeToString()


def _framed(response: bytes) -> bytes:
    """A ModelInferResponse as field 2 of a ModelStreamInferResponse, without parsing it again."""
    return b"\x12" + varint(len(response)) + response
