"""A schema registry in this process, on 127.0.0.1, which may be slow, wrong or silent."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Answer = tuple[int, bytes] | Callable[["Handler"], None]

NOT_FOUND = (404, b'{"error_code": 40403, "message": "Schema not found"}')
QUIET = 0.4  # seconds for an answer, in tests that wait it out


@dataclass
class FakeRegistry:
    """What it answers, by path, and what it was asked."""

    url: str
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    otherwise: Answer = NOT_FOUND
    over: threading.Event = field(default_factory=threading.Event)

    def knows(self, name: int | str, schema: object, **more: Any) -> None:
        """From now on, of the schema with this id or GUID."""
        kind = "ids" if isinstance(name, int) else "guids"
        self.answers[f"/schemas/{kind}/{name}"] = self.written(schema, **more)

    def has(self, subject: str, version: int, schema: object, **more: Any) -> None:
        """From now on, this version of a subject."""
        self.answers[f"/subjects/{subject}/versions/{version}"] = self.written(schema, **more)

    @staticmethod
    def written(schema: object, **more: Any) -> tuple[int, bytes]:
        return 200, json.dumps({"schema": json.dumps(schema), **more}).encode()


class Handler(BaseHTTPRequestHandler):
    """Answers from the registry of its server."""

    def do_GET(self) -> None:
        registry: FakeRegistry = self.server.registry  # type: ignore[attr-defined] # set below
        registry.asked.append(self.path)
        registry.headers.append(dict(self.headers))
        answer = registry.answers.get(self.path, registry.otherwise)
        if callable(answer):
            answer(self)
            return
        status, body = answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not on stderr."""


def silent(handler: Handler) -> None:
    """No answer, until the test is over."""
    handler.server.registry.over.wait(20)  # type: ignore[attr-defined] # set below
    handler.close_connection = True


def dripping(handler: Handler) -> None:
    """A header that never ends, byte by byte: each of them in time, all of them never."""
    try:
        while not handler.server.registry.over.wait(QUIET / 10):  # type: ignore[attr-defined] # set below
            handler.wfile.write(b"H")
    except OSError:
        handler.close_connection = True


def broken_off(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"schema": "')
    handler.close_connection = True


@contextmanager
def registry() -> Iterator[FakeRegistry]:
    """One that knows nothing yet."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake = FakeRegistry(f"http://127.0.0.1:{server.server_address[1]}")
    server.registry = fake  # type: ignore[attr-defined] # for its handlers
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        fake.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
