"""The client for ordinary code; may be used by several threads."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, overload

from penstock.client.asking import Options, Tries, request_for, requests_for
from penstock.client.connection import METHOD, Connection, error_of
from penstock.client.errors import PenstockError
from penstock.client.retries import Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from penstock.client.asking import Request
    from penstock.client.connection import Tls, Token
    from penstock.client.messages import Parameters
    from penstock.client.results import Inputs, Prediction
    from penstock.client.rows import Ask, Columns, Row, Time

WINDOW = 64
"""Messages of a stream that may be on their way at once."""


class Client:
    """Asks one pipeline.

    Args:
        address: ``HOST:PORT`` of inference.
        pipeline: its name.
        seconds: how long a call may take, further attempts included.
        tls: True for the system's authorities, or what to trust and who this is.
        token: to show with each call; or a function that gives it.
        retry: how often to ask again where that can help.

    Raises:
        ValueError: a token would go out in the clear.
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
        import grpc  # type: ignore[import-untyped]  # noqa: PLC0415 - it ships no types, and takes 100 ms

        self.pipeline = pipeline
        self._seconds = seconds
        self._retry = retry or Retry()
        self._connection = Connection(address=address, tls=tls, token=token)
        self._refused: type[Exception] = grpc.RpcError
        self._channel = self._connection.channel(grpc)
        self._infer = self._channel.unary_unary(f"{METHOD}ModelInfer")
        self._config = self._channel.unary_unary(f"{METHOD}ModelConfig")
        self._ready = self._channel.unary_unary(f"{METHOD}ModelReady")
        self._streamed = self._channel.stream_stream(f"{METHOD}ModelStreamInfer")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._channel.close()

    @overload
    def predict(
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
    def predict(
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

    def predict(
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
        """Ask for a row, for a list of rows, or for columns.

        Args:
            rows: feature name → value, or a list of such; or feature name → a list of values, or an array.
                None, or left out, is missing.
            id: what the row's label will be sent under; for several one for each, or one that they are
                numbered under: ``id/0``, ``id/1``, …. One is made up where there is none.
            event_time: when the event is, or one for each row; a number is milliseconds since 1970. Now where
                it is None.
            version: ask this version, whatever the route says.
            explain: say what each feature added to the score, too.
            parameters: anything else that is to stand in the log beside the prediction.
            seconds: how long this call may take.

        Returns:
            one prediction where one row was given as such, else a list.

        Raises:
            PenstockError: with the status, and what to mend where it is INVALID_ARGUMENT.
            TypeError: a value cannot be sent.
            ValueError: no row has a value, or there are not as many ids, times or values as rows.
        """
        from penstock.client.messages import predictions_of  # noqa: PLC0415 - protobuf takes 100 ms

        options = Options(version=version, explain=explain, parameters=parameters)
        request = request_for(self.pipeline, rows, options, id_=id, event_time=event_time)
        answer = self._call(self._infer, request.body, seconds, ids=request.ids)
        found = predictions_of(answer)
        return found[0] if request.single else found

    def stream(
        self,
        rows: Iterable[Row | Ask],
        *,
        version: int | None = None,
        explain: bool = False,
        parameters: Parameters | None = None,
        batch: int = 1,
        seconds: float | None = None,
        on_error: Callable[[PenstockError], None] | None = None,
    ) -> Iterator[Prediction]:
        """Ask for any number of rows over one call: several times as many a second as `predict` can.

        Rows are taken in a thread of the library's, some `WINDOW` messages ahead of what has been answered.
        What breaks off is not asked again by itself.

        Args:
            rows: feature name → value; or an `Ask`, where a row has an id or an event time.
            version: ask this version, whatever the route says.
            explain: say what each feature added to the score, too.
            parameters: anything else that is to stand in the log beside the predictions.
            batch: rows in a message.
            seconds: how long the whole stream may take; None for as long as there are rows.
            on_error: told of each message that is refused, and the stream goes on; without it that is raised.

        Yields:
            predictions, in the order of the rows.

        Raises:
            PenstockError: a message was refused, or the stream broke; its `ids` are those without an answer.
        """
        from penstock.client.messages import replied  # noqa: PLC0415 - protobuf takes 100 ms

        options = Options(version=version, explain=explain, parameters=parameters)
        sending = _Sending(requests_for(self.pipeline, rows, options, batch))
        call = self._streamed(sending.bodies(), timeout=seconds, metadata=self._connection.metadata())
        try:
            for reply in call:
                ids = sending.answered()
                try:
                    found = replied(reply, ids)
                except PenstockError as error:
                    if on_error is None:
                        raise
                    on_error(error)
                    continue
                yield from found
            sending.ended()
        except self._refused as error:
            raise error_of(error, ids=sending.unanswered()) from error
        finally:
            sending.stop()
            call.cancel()

    def inputs(self) -> Inputs:
        """What the model takes of an event, and under which names.

        Raises:
            PenstockError: there is no such pipeline, or nobody who could say.
        """
        from penstock.client.messages import config_request, inputs_of  # noqa: PLC0415 - protobuf takes 100 ms

        return inputs_of(self._call(self._config, config_request(self.pipeline)))

    def ready(self) -> bool:
        """Whether the pipeline can be asked here and now.

        Raises:
            PenstockError: there is no such pipeline, or nobody who could say.
        """
        from penstock.client.messages import ready_of, ready_request  # noqa: PLC0415 - protobuf takes 100 ms

        return ready_of(self._call(self._ready, ready_request(self.pipeline)))

    def _call(
        self, method: Any, request: bytes, seconds: float | None = None, *, ids: Sequence[str] = ()
    ) -> bytes:
        tries = Tries(self._retry, self._seconds if seconds is None else seconds, ids)
        while True:
            try:
                answer: bytes = method(request, timeout=tries.begin(), metadata=self._connection.metadata())
            except self._refused as error:
                said, wait = tries.failed(error)
                if wait is None:
                    raise said from error
                time.sleep(wait)
            else:
                return answer


class _Sending:
    """The requests of a stream, which the library takes in a thread of its own."""

    def __init__(self, requests: Iterator[Request]) -> None:
        self._broken: Exception | None = None
        self._requests = requests
        self._room = threading.Semaphore(WINDOW)
        self._stopped = False
        self._waiting: deque[tuple[str, ...]] = deque()

    def bodies(self) -> Iterator[bytes]:
        while True:
            self._room.acquire()
            if self._stopped:
                return
            try:
                request = next(self._requests, None)
            except Exception as error:  # noqa: BLE001 - it belongs to whoever reads the answers, in another thread
                self._broken = error
                return
            if request is None:
                return
            self._waiting.append(request.ids)
            yield request.body

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

    def stop(self) -> None:
        self._stopped = True
        self._room.release()
