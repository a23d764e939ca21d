"""The gRPC server: the one place, beside the client, that knows grpc.

Bytes go in and come out: `penstock.inference.oip` and `.metadata` do the work, this module the transport:
status codes with google.rpc details, deadlines, x-request-id and traceparent, health, reflection, load
shedding, drain.

Two settings of grpc itself make a call a third cheaper: its old event loop instead of the event engine, and
uvloop. The first is an experiment of the library, so `answers` finds out at start-up whether it works, and
`without_experiments` is the way back.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn
from uuid import uuid4

# Before grpc is imported, which reads them then and never again.
EXPERIMENTS: Final = "-event_engine_client,-event_engine_listener"
os.environ.setdefault("GRPC_EXPERIMENTS", EXPERIMENTS)
# Children of this process (models are tried in one) never use grpc, which would complain of each in our log.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import grpc  # type: ignore[import-untyped]  # noqa: E402  # it ships no types; see above
from google.protobuf.any_pb2 import Any as AnyMessage  # noqa: E402
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # noqa: E402
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # noqa: E402
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]  # noqa: E402

from penstock.contracts import oip_pb2  # noqa: E402
from penstock.inference.faults import Fault  # noqa: E402
from penstock.inference.metadata import CALLS  # noqa: E402
from penstock.inference.oip import PIN, Chance, answer, finish, read, varint  # noqa: E402
from penstock.inference.slowly import Slowly  # noqa: E402
from penstock.runtime import logs  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from penstock.inference.domain import Directory, Scored
    from penstock.inference.oip import Served
    from penstock.runtime.broker import Headers
    from penstock.runtime.telemetry import Telemetry

SERVICE: Final = "inference.GRPCInferenceService"
MESSAGE_LIMIT: Final = 4 * 2**20
"""Bytes of a request or a response: 60,000 rows of 17 features."""
BIG: Final = 64 * 2**10
"""Bytes of a request from which on it is scored in a thread: a small one costs less than the hand-over."""
DRAIN_SECONDS: Final = 10.0
"""How long calls in flight may take after a stop was asked for."""
_DETAILS: Final = "grpc-status-details-bin"


class Server:
    """ModelInfer and its companions on one address.

    Args:
        listen: ``HOST:PORT``; port 0 takes a free one.
        directory: what can be asked now; one reference, read once a call.
        log: told of every answer after it was given, with the headers that name its call.
        telemetry: told of every call.
        concurrency: calls at once; more are refused with RESOURCE_EXHAUSTED.
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
        slowly: Slowly | None = None,
    ) -> None:
        self.ready = False
        self.port = 0
        self._listen = listen
        self._directory = directory
        self._record = log
        self._telemetry = telemetry
        self._slowly = slowly or Slowly()
        self._lines = logs.get(component="grpc")
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=concurrency,
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
        generic = grpc.method_handlers_generic_handler(SERVICE, handlers)
        self._server.add_generic_rpc_handlers((generic,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self) -> int:
        """Listen; the port.

        Raises:
            OSError: the address is taken, or not ours.
        """
        await self.announce(ready=False)
        try:
            self.port = self._server.add_insecure_port(self._listen)
        except RuntimeError as error:
            why = "cannot listen there: it is taken by another process, or no address of this machine"
            raise OSError(errno.EADDRINUSE, why, self._listen) from error
        await self._server.start()
        return self.port

    async def announce(self, *, ready: bool) -> None:
        """Say by ServerReady and by the health service whether this process can be sent calls."""
        self.ready = ready
        status = (
            health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in ("", SERVICE):
            await self._health.set(name, status)

    async def stop(self, seconds: float = DRAIN_SECONDS) -> None:
        """Say NOT_SERVING first, take no new calls, finish those in flight."""
        self.ready = False
        await self._health.enter_graceful_shutdown()
        await self._server.stop(seconds)
        await self._slowly.close(seconds)

    def _companion(self, name: str) -> Callable[[bytes, Any], Awaitable[bytes]]:
        call, method = CALLS[name], f"{SERVICE}/{name}"

        async def answer(request: bytes, context: Any) -> bytes:
            passed = _Passed(context, method)
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
        passed = _Passed(context, f"{SERVICE}/ModelInfer")
        try:
            passed.in_time()
            reply, served, whole = await self._score(request, passed)
        except Fault as fault:
            await self._refuse(passed, fault)
        except Exception as error:  # noqa: BLE001 - as above
            await self._refuse(passed, self._bug(error))
        if isinstance(reply, Fault):
            await self._refuse(passed, reply, served, whole)
        # In the loop's next turn, when the answer is on its way.
        asyncio.get_running_loop().call_soon(self._done, passed, "OK", passed.seconds, served, whole)
        return reply

    async def _score(
        self, request: bytes, passed: _Passed
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
        passed = _Passed(context, f"{SERVICE}/ModelStreamInfer")
        while (request := await context.read()) is not grpc.aio.EOF:
            served = None
            try:
                reply, served, whole = await self._score(request, passed)
            except Fault as fault:
                reply = fault
            except Exception as error:  # noqa: BLE001 - as above
                reply = self._bug(error)
            await context.write(_refused(reply) if isinstance(reply, Fault) else _framed(reply))
            if served is not None:
                self._log(served, (), whole)
        self._telemetry.rpc(passed.method, "OK", passed.seconds, traceparent=passed.traceparent)

    def _done(
        self,
        passed: _Passed,
        code: str,
        seconds: float,
        served: Served | None = None,
        whole: asyncio.Future[Scored] | None = None,
    ) -> None:
        headers = self._telemetry.rpc(passed.method, code, seconds, traceparent=passed.traceparent)
        if served is not None:
            self._log(served, headers, whole)

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
        passed: _Passed,
        fault: Fault,
        served: Served | None = None,
        whole: asyncio.Future[Scored] | None = None,
    ) -> NoReturn:
        self._done(passed, fault.code, passed.seconds, served, whole)
        trailing = passed.trailing
        if fault.violations:
            trailing = (*trailing, (_DETAILS, _details(fault)))
        await passed.context.abort(grpc.StatusCode[fault.code], fault.message, trailing)
        raise AssertionError("abort raises")

    def _bug(self, error: Exception) -> Fault:
        self._lines.error("call_failed", exc_info=error)
        return Fault("INTERNAL", f"this is a bug in Penstock, and in its log: {type(error).__name__}")


class _Passed:
    """What a caller passed beside its request, and when."""

    __slots__ = ("_began", "context", "method", "pin", "traceparent", "trailing")

    def __init__(self, context: Any, method: str) -> None:
        self._began = time.perf_counter()
        self.context = context
        self.method = method
        self.traceparent: str | None = None
        self.pin = ""
        self.trailing: tuple[tuple[str, str | bytes], ...] = ()
        for key, value in context.invocation_metadata() or ():
            if key == "traceparent":
                self.traceparent = value
            elif key == PIN:
                self.pin = value
            elif key == "x-request-id":
                self.trailing = ((key, value),)
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


def _new_id() -> str:
    return uuid4().hex


def _details(fault: Fault) -> bytes:
    """The google.rpc.Status that tools show: BadRequest, one field violation for each tensor at fault."""
    bad = error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
            for field, description in fault.violations
        ]
    )
    packed = AnyMessage()
    packed.Pack(bad)
    code, _ = grpc.StatusCode[fault.code].value
    status: bytes = status_pb2.Status(code=code, message=fault.message, details=[packed]).SerializeToString()
    return status


def _refused(fault: Fault) -> bytes:
    return oip_pb2.ModelStreamInferResponse(
        error_message=f"{fault.code}: {fault.message}"
    ).SerializeToString()


def _framed(response: bytes) -> bytes:
    """A ModelInferResponse as field 2 of a ModelStreamInferResponse, without parsing it again."""
    return b"\x12" + varint(len(response)) + response


async def answers(address: str, seconds: float = 5.0) -> bool:
    """Whether a server at this address answers at all."""
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ServerLive")
        try:
            await call(b"", timeout=seconds, wait_for_ready=True)
        except grpc.aio.AioRpcError:
            return False
    return True


def without_experiments() -> NoReturn:
    """Begin this process anew, with grpc as it comes: its experiments do not work here."""
    environment = {**os.environ, "GRPC_EXPERIMENTS": ""}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - our own command line
