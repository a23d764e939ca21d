"""Who may ask: TLS, certificates of clients, and bearer tokens; files that change are read again."""

from __future__ import annotations

import hashlib
import hmac
import ssl
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from penstock.inference.domain import STARTING, Serving, Waiting
from penstock.inference.faults import Fault
from penstock.inference.rpc import grpc
from penstock.kernel.mistakes import nearest
from penstock.runtime import logs
from penstock.runtime.settings import WrongSetting

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from penstock.inference.domain import Directory
    from penstock.inference.settings import InferenceSettings

    Stamp = tuple[tuple[int, int], ...]

_SCHEME: Final = "bearer "
SHORTEST_TOKEN: Final = 16
"""Characters: what is shorter is guessed, or a line that was meant to be something else."""
LOOK_SECONDS: Final = 1.0
"""How often a file of tokens is looked at."""
ALLOWED: Final[ContextVar[frozenset[str] | None]] = ContextVar("ALLOWED", default=None)
"""The pipelines that the token of this call is for; None for all."""


class Certificates:
    """The server's own certificate, and whose certificates it takes, from files in PEM.

    Args:
        certificate: of the server, with the chain up to its authority.
        key: of it.
        clients: authorities whose clients are let in, and nobody else; None lets in everybody.

    Raises:
        WrongSetting: a file cannot be read, or they do not belong together.
    """

    def __init__(self, certificate: Path, key: Path, clients: Path | None = None) -> None:
        self._certificate, self._key, self._clients = certificate, key, clients
        self._conditions = logs.Conditions(logs.get(component="security"))
        self._stamp: Stamp = self._stamps()
        self._first = self._read()

    def credentials(self) -> Any:
        """What grpc serves with; it asks for every connection whether there is a newer certificate."""
        return grpc.dynamic_ssl_server_credentials(
            self._first, self._renewed, require_client_authentication=self._clients is not None
        )

    def _renewed(self) -> Any:
        """The configuration where its files have changed and fit; else None, and the one in use stays."""
        try:
            stamp = self._stamps()
            if stamp == self._stamp:
                return None
            found = self._read()
        except WrongSetting as why:
            # Whoever renews writes two files, one after the other: the next connection looks again.
            self._conditions.began("certificates_unusable", why=str(why))
            return None
        self._stamp = stamp
        self._conditions.ended("certificates_unusable")
        logs.get(component="security").info("certificates_renewed", certificate=str(self._certificate))
        return found

    def _read(self) -> Any:
        parts = [_read("PENSTOCK_TLS_CERTIFICATE", self._certificate), _read("PENSTOCK_TLS_KEY", self._key)]
        roots = None if self._clients is None else _read("PENSTOCK_TLS_CLIENTS", self._clients)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self._certificate, self._key)
        except ssl.SSLError as error:
            message = f"PENSTOCK_TLS_CERTIFICATE and PENSTOCK_TLS_KEY do not fit: {_reason(error)}"
            raise WrongSetting(message, field="PENSTOCK_TLS_KEY", reason="setting") from error
        if roots is not None:
            try:
                context.load_verify_locations(cadata=roots.decode("ascii", "replace"))
            except ssl.SSLError as error:
                message = f"PENSTOCK_TLS_CLIENTS holds no certificates in PEM: {_reason(error)}"
                raise WrongSetting(message, field="PENSTOCK_TLS_CLIENTS", reason="setting") from error
        certificate, key = parts
        return grpc.ssl_server_certificate_configuration([(key, certificate)], roots)

    def _stamps(self) -> Stamp:
        paths = [self._certificate, self._key, *([] if self._clients is None else [self._clients])]
        return tuple(_stamp("PENSTOCK_TLS_CERTIFICATE", path) for path in paths)


class Tokens:
    """Bearer tokens from a file, one a line; read again where it has changed.

    A token alone is for every pipeline; names after it, with commas between them, are those it is for. What
    follows a ``#`` at the beginning of a line is for people. Only digests are held, and all of them are
    compared with, so how long it takes tells nothing of any.

    Args:
        path: of the file.

    Raises:
        WrongSetting: it cannot be read, or a line is wrong.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._conditions = logs.Conditions(logs.get(component="security"))
        self._stamp = _stamp("PENSTOCK_TOKENS", path)
        self._known = _tokens(path)
        self._looked = time.monotonic()

    def admit(self, metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
        """Let a call in, for the pipelines that its token is for.

        Raises:
            Fault: UNAUTHENTICATED where it has no token, or one that nobody knows.
        """
        given = [value for key, value in metadata or () if key == "authorization"]
        if len(given) != 1 or not isinstance(given[0], str):
            raise Fault("UNAUTHENTICATED", "this server asks for one 'authorization: Bearer TOKEN'")
        if given[0][: len(_SCHEME)].lower() != _SCHEME:
            raise Fault("UNAUTHENTICATED", "'authorization' is not of the form 'Bearer TOKEN'")
        digest = _digest(given[0][len(_SCHEME) :].strip())
        found: list[frozenset[str] | None] = [
            allowed for known, allowed in self._current().items() if hmac.compare_digest(known, digest)
        ]
        if not found:
            raise Fault("UNAUTHENTICATED", "nobody knows this token")
        ALLOWED.set(found[0])

    def _current(self) -> Mapping[bytes, frozenset[str] | None]:
        now = time.monotonic()
        if now < self._looked + LOOK_SECONDS:
            return self._known
        self._looked = now
        try:
            stamp = _stamp("PENSTOCK_TOKENS", self._path)
            if stamp != self._stamp:
                self._known, self._stamp = _tokens(self._path), stamp
                logs.get(component="security").info("tokens_read", count=len(self._known))
            self._conditions.ended("tokens_unusable")
        except WrongSetting as why:
            # Those who could come in a moment ago still can: a slip of somebody's editor locks nobody out.
            self._conditions.began("tokens_unusable", why=str(why))
        return self._known


class Restricted(Mapping[str, Serving | Waiting]):
    """A directory as the holder of a token sees it.

    Args:
        directory: as it is.
        allowed: the pipelines that the token is for.
    """

    def __init__(self, directory: Directory, allowed: frozenset[str]) -> None:
        self._directory = directory
        self._allowed = allowed

    def __getitem__(self, name: str) -> Serving | Waiting:
        if name not in self._allowed:
            meant = nearest(name, self._allowed)
            hint = f" (did you mean {meant!r}?)" if meant else ""
            raise Fault("PERMISSION_DENIED", f"this token is not for a pipeline {name!r}{hint}")
        return self._directory[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._directory if name in self._allowed)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def seen(directory: Directory) -> Directory:
    """What this call may see of a directory."""
    allowed = ALLOWED.get()
    return directory if allowed is None or directory is STARTING else Restricted(directory, allowed)


def certificates_of(settings: InferenceSettings) -> Certificates | None:
    """As the settings say; None where calls come in plain text.

    Raises:
        WrongSetting: only a part of them is set, or they cannot be used.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None and key is None and settings.tls_clients is None:
        return None
    if certificate is None or key is None:
        name = "PENSTOCK_TLS_CERTIFICATE" if certificate is None else "PENSTOCK_TLS_KEY"
        raise WrongSetting(f"{name} is missing: TLS needs both of them", field=name, reason="setting")
    return Certificates(certificate, key, settings.tls_clients)


def _tokens(path: Path) -> dict[bytes, frozenset[str] | None]:
    found: dict[bytes, frozenset[str] | None] = {}
    lines = _read("PENSTOCK_TOKENS", path).decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, 1):
        words = line.split(maxsplit=1)
        if not words or words[0].startswith("#"):
            continue
        if len(words[0]) < SHORTEST_TOKEN:
            message = f"{path}:{number}: a token has {SHORTEST_TOKEN} characters or more"
            raise WrongSetting(message, field="PENSTOCK_TOKENS", reason="setting")
        names = frozenset(name.strip() for name in words[1].split(",")) - {""} if words[1:] else None
        found[_digest(words[0])] = names
    if not found:
        raise WrongSetting(f"{path}: there is no token in it", field="PENSTOCK_TOKENS", reason="setting")
    return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _stamp(variable: str, path: Path) -> tuple[int, int]:
    try:
        about = path.stat()
    except OSError as error:
        raise _unreadable(variable, path, error) from error
    return about.st_mtime_ns, about.st_size


def _read(variable: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(variable, path, error) from error


def _unreadable(variable: str, path: Path, error: OSError) -> WrongSetting:
    message = f"{variable} names {str(path)!r}, which cannot be read: {error.strerror}"
    return WrongSetting(message, field=variable, reason="setting")


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")
