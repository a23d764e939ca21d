"""One question to a schema registry over HTTP, answered, or given up, within a set time.

The time is that of the whole question: a server that sends a byte now and then holds nobody up for longer.
Redirections are not followed and no proxy is looked for, so what proves who asks goes nowhere else.
"""

from __future__ import annotations

import base64
import http.client
import io
import socket
import ssl
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_ANSWER: Final = 1024 * 1024
"""Bytes of an answer that are read."""
_ACCEPT: Final = "application/vnd.schemaregistry.v1+json, application/json"


class Away(Exception):  # noqa: N818 - it says what is so
    """No answer that a schema registry would give: ask again later."""


class TooLarge(Exception):  # noqa: N818
    """The answer has more bytes than are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach a schema registry.

    Args:
        url: of the registry that may be told who asks; '' for none.
        user: its name there; '' for none.
        password_file: holds the password.
        token_file: holds a bearer token, instead of user and password.
        ca_file: certificates of the authorities to trust, instead of the system's.
        seconds: a question takes at most.
    """

    url: str = ""
    user: str = ""
    password_file: Path | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    seconds: float = 5.0


def ask(url: str, access: Access) -> tuple[int, bytes]:
    """Status and body of a GET.

    Args:
        url: of the resource.
        access: credentials, for the registry they are for alone, and how long to wait.

    Raises:
        Away: no connection, no whole answer in time, or a secret that cannot be read.
        TooLarge: the answer is.
    """
    parts = urlsplit(url)
    deadline = time.monotonic() + access.seconds
    host, port = parts.hostname or "", parts.port
    path = parts.path or "/"
    connection: http.client.HTTPConnection
    try:
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=access.ca_file)
            connection = http.client.HTTPSConnection(host, port, timeout=access.seconds, context=context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=access.seconds)
        connection.connect()
        with closing(connection.sock) as sock:
            # http.client waits anew for each piece; this waits for all of them together.
            connection.sock = cast("socket.socket", _Patient(sock, deadline))
            connection.request("GET", path, headers={"Accept": _ACCEPT, **_credentials(url, access)})
            answer = connection.getresponse()
            body = answer.read(LARGEST_ANSWER + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Away(_cause(error, access.seconds)) from error
    if len(body) > LARGEST_ANSWER:
        raise TooLarge(f"more than {LARGEST_ANSWER} bytes")
    if answer.length:
        raise Away("the answer breaks off")
    return answer.status, body


def _cause(error: Exception, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _credentials(url: str, access: Access) -> Mapping[str, str]:
    """Who asks: told to the registry that it was set for, to no other that a pipeline file may name."""
    if not access.url or _origin(url) != _origin(access.url):
        return {}
    if access.token_file is not None:
        return {"Authorization": f"Bearer {_secret(access.token_file)}"}
    if access.user:
        password = _secret(access.password_file) if access.password_file else ""
        both = base64.b64encode(f"{access.user}:{password}".encode()).decode()
        return {"Authorization": f"Basic {both}"}
    return {}


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _secret(path: Path) -> str:
    """Read anew for each question, so that a new one counts at once."""
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Away(f"{path} cannot be read") from error
    if not secret.isprintable() or not secret.isascii():  # else it would be shown with the complaint about it
        raise Away(f"{path} holds no secret of one line of ASCII")
    return secret


class _Patient:
    """A socket as http.client uses one, which waits for all its pieces together until a deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._pieces = _Pieces(sock, deadline)
        self.sendall = self._pieces.sendall

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._pieces)

    def close(self) -> None:
        """Whoever made the socket closes it: http.client does so before the answer is read."""


class _Pieces(io.RawIOBase):
    """What comes from a socket, and goes there, before a deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def _wait(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)

    def sendall(self, data: bytes) -> None:
        self._wait()
        self._sock.sendall(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # what BufferedReader hands over
        self._wait()
        return self._sock.recv_into(buffer)
