"""A gRPC server in a thread of its own, with everything it told others."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]  # it ships no types
import numpy as np
import pytest

from penstock.inference.domain import Directory
from penstock.inference.servicer import SERVICE, Server
from penstock.runtime.telemetry import off

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from penstock.inference.oip import Served
    from penstock.runtime.broker import Headers

ROW = [12.5, 2.0, 1.0, 12.0, 0.0]


class Heard:
    """Telemetry that keeps what it was told about calls."""

    on = True

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str | None]] = []

    def rpc(self, method: str, code: str, seconds: float, *, traceparent: str | None = None) -> Headers:
        assert 0 <= seconds < 60
        self.calls.append((method.rpartition("/")[2], code, traceparent))
        return (("traceparent", b"ours"),)

    def __getattr__(self, name: str) -> Any:
        return getattr(off(), name)


class Slow:
    """A model that waits to be let go."""

    def __init__(self) -> None:
        self.entered, self.go = threading.Event(), threading.Event()

    def run(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        self.entered.set()
        assert self.go.wait(30)
        return matrix[:, :1]


class Running:
    """A server in a thread of its own, and everything it told others."""

    def __init__(self, directory: Directory, *, concurrency: int = 1000, **options: Any) -> None:
        self.directory = directory
        self.logged: list[tuple[Served, Headers]] = []
        self.heard = Heard()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.server: Server = self.call(self._make(concurrency=concurrency, **options))
        self.port: int = self.call(self.server.start())
        self.address = f"127.0.0.1:{self.port}"
        self.channel = grpc.insecure_channel(self.address)

    async def _make(self, **options: Any) -> Server:
        return Server(
            "127.0.0.1:0",
            directory=lambda: self.directory,
            log=lambda served, headers: self.logged.append((served, headers)),
            telemetry=self.heard,
            **options,
        )

    def call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def ask(self, name: str, body: bytes = b"", **options: Any) -> bytes:
        answer: bytes = self.channel.unary_unary(f"/{SERVICE}/{name}")(body, **{"timeout": 20, **options})
        return answer

    def refused(self, body: bytes, **options: Any) -> Any:
        with pytest.raises(grpc.RpcError) as caught:
            self.ask("ModelInfer", body, **options)
        return caught.value

    def close(self) -> None:
        self.channel.close()
        self.call(self.server.stop(0))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@contextlib.contextmanager
def running(directory: Directory, **options: Any) -> Iterator[Running]:
    server = Running(directory, **options)
    try:
        yield server
    finally:
        server.close()


def until(condition: Callable[[], Any]) -> None:
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "did not happen within 20 s"
        time.sleep(0.001)
