"""The client for asyncio: the same calls, awaited."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, overload

from penstock.client.asking import Options, Tries, request_for, request_of_chunk
from penstock.client.connection import METHOD, Connection, error_of
from penstock.client.errors import PenstockError
from penstock.client.retries import Retry
from penstock.client.sync import WINDOW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from types import TracebackType
    from typing import Self

    from penstock.client.asking import Request
    from penstock.client.connection import Tls, Token
    from penstock.client.messages import Parameters
    from penstock.client.results import Inputs, Prediction
    from penstock.client.rows import Ask, Columns, Row, Time


class AsyncClient:
    """Asks one pipeline; belongs to the event loop that it is first used in.

    Its arguments, and those of its methods, are those of `penstock.client.Client`.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:8001",
        *,
        pipeline: str,
        seconds: float = 5.0,
        tls: Tls | bool | None = None,
        token: Token | None = None,
        retry: Retry | None = None,
    ) -> None:
        self.pipeline = pipeline
        self._seconds = seconds
        self._retry = retry or Retry()
        self._connection = Connection(address=address, tls=tls, token=token)
        self._opened: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connection."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()

    @overload
    async def predict(
        self,
        rows: Row,
        *,
        id: str | None = None,
        event_time: Time | None = None,
        version: int | None = None,
        explain: bool = False,
        parameters: Parameters | None = None,
        seconds: float | None = None,
    ) -> Prediction: ...

    @overload
    async def predict(
        self,
        rows: Sequence[Row] | Columns,
        *,
        id: str | Sequence[str] | None = None,
        event_time: Time | Sequence[Time] | None = None,
        version: int | None = None,
        explain: bool = False,
        parameters: Parameters | None = None,
        seconds: float | None = None,
    ) -> list[Prediction]: ...

    async def predict(
        self,
        rows: Row | Sequence[Row] | Columns,
        *,
        id: str | Sequence[str] | None = None,  # noqa: A002 - as above
        event_time: Time | Sequence[Time] | None = None,
        version: int | None = None,
        explain: bool = False,
        parameters: Parameters | None = None,
        seconds: float | None = None,
    ) -> Prediction | list[Prediction]:
        """Ask for a row, for a list of rows, or for columns: see `penstock.client.Client.predict`."""
        from penstock.client.messages import predictions_of  # noqa: PLC0415 - protobuf takes 100 ms

        options = Options(version=version, explain=explain, parameters=parameters)
        request = request_for(self.pipeline, rows, options, id_=id, event_time=event_time)
        answer = await self._call("ModelInfer", request.body, seconds, ids=request.ids)
        found = predictions_of(answer)
        return found[0] if request.single else found

    async def stream(
        self,
        rows: Iterable[Row | Ask] | AsyncIterable[Row | Ask],
        *,
        version: int | None = None,
        explain: bool = False,
        parameters: Parameters | None = None,
        batch: int = 1,
        seconds: float | None = None,
        on_error: Callable[[PenstockError], None] | None = None,
    ) -> AsyncIterator[Prediction]:
        """Ask for any number of rows over one call: see `penstock.client.Client.stream`.

        The rows may come asynchronously, too.
        """
        from penstock.client.messages import replied  # noqa: PLC0415 - protobuf takes 100 ms

        options = Options(version=version, explain=explain, parameters=parameters)
        method = self._channel().stream_stream(f"{METHOD}ModelStreamInfer")
        call = method(timeout=seconds, metadata=self._connection.metadata())
        requests = (request_of_chunk(self.pipeline, chunk, options) async for chunk in _chunks(rows, batch))
        sending = _Sending(call, requests)
        try:
            async for reply in _replies(call):
                ids = sending.answered()
                try:
                    found = replied(reply, ids)
                except PenstockError as error:
                    if on_error is None:
                        raise
                    on_error(error)
                    continue
                for prediction in found:
                    yield prediction
            sending.ended()
        except _refused() as error:
            raise error_of(error, ids=sending.unanswered()) from error
        finally:
            await sending.stop()
            call.cancel()

    async def inputs(self) -> Inputs:
        """What the model takes of an event: see `penstock.client.Client.inputs`."""
        from penstock.client.messages import config_request, inputs_of  # noqa: PLC0415 - protobuf takes 100 ms

        return inputs_of(await self._call("ModelConfig", config_request(self.pipeline)))

    async def ready(self) -> bool:
        """Whether the pipeline can be asked here and now: see `penstock.client.Client.ready`."""
        from penstock.client.messages import ready_of, ready_request  # noqa: PLC0415 - protobuf takes 100 ms

        return ready_of(await self._call("ModelReady", ready_request(self.pipeline)))

    def _channel(self) -> Any:
        if self._opened is None:
            import grpc.aio  # type: ignore[import-untyped]  # noqa: PLC0415 - no types, and takes 100 ms

            self._opened = self._connection.channel(grpc.aio)
        return self._opened

    async def _call(
        self, name: str, request: bytes, seconds: float | None = None, *, ids: Sequence[str] = ()
    ) -> bytes:
        method = self._channel().unary_unary(f"{METHOD}{name}")
        tries = Tries(self._retry, self._seconds if seconds is None else seconds, ids)
        while True:
            try:
                answer: bytes = await method(
                    request, timeout=tries.begin(), metadata=self._connection.metadata()
                )
            except _refused() as error:
                said, wait = tries.failed(error)
                if wait is None:
                    raise said from error
                await asyncio.sleep(wait)
            else:
                return answer


class _Sending:
    """The requests of a stream, sent beside the reading of its answers."""

    def __init__(self, call: Any, requests: AsyncIterator[Request]) -> None:
        self._call = call
        self._requests = requests
        self._broken: Exception | None = None
        self._room = asyncio.Semaphore(WINDOW)
        self._waiting: deque[tuple[str, ...]] = deque()
        self._task = asyncio.create_task(self._send())

    async def _send(self) -> None:
        try:
            async for request in self._requests:
                await self._room.acquire()
                self._waiting.append(request.ids)
                if not await self._written(request.body):
                    return
        except Exception as error:  # noqa: BLE001 - what the rows fail of belongs to whoever reads the answers
            self._broken = error
        await self._call.done_writing()

    async def _written(self, body: bytes) -> bool:
        try:
            await self._call.write(body)
        except (_refused(), asyncio.InvalidStateError):
            return False  # the call has ended; whoever reads is told why
        return True

    def answered(self) -> tuple[str, ...]:
        """The ids of the message that an answer is to; answers come in the order of the messages."""
        self._room.release()
        return self._waiting.popleft()

    def unanswered(self) -> list[str]:
        return [id_ for ids in self._waiting for id_ in ids]

    def ended(self) -> None:
        """Raise where the rows ended in an error, or the server ended before it had answered everything."""
        if self._broken is not None:
            raise self._broken
        if self._waiting:
            raise PenstockError("UNAVAILABLE", "the server ended the stream", ids=self.unanswered())

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def _replies(call: Any) -> AsyncIterator[bytes]:
    import grpc.aio  # noqa: PLC0415 - it is there by now

    while (reply := await call.read()) is not grpc.aio.EOF:
        yield reply


def _refused() -> type[Exception]:
    import grpc.aio  # noqa: PLC0415 - as above

    kind: type[Exception] = grpc.aio.AioRpcError
    return kind


async def _chunks(
    rows: Iterable[Row | Ask] | AsyncIterable[Row | Ask], most: int
) -> AsyncIterator[list[Row | Ask]]:
    """So many rows at a time."""
    chunk: list[Row | Ask] = []
    async for row in _each(rows):
        chunk.append(row)
        if len(chunk) == most:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


async def _each(rows: Iterable[Row | Ask] | AsyncIterable[Row | Ask]) -> AsyncIterator[Row | Ask]:
    if isinstance(rows, AsyncIterable):
        async for row in rows:
            yield row
    else:
        for row in rows:
            yield row
