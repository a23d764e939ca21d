"""How the server is reached: address, TLS, token; and what grpc says of a call that failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from penstock.client.errors import PenstockError, Violation

Token = str | Callable[[], str]
METHOD: Final = "/inference.GRPCInferenceService/"
_DETAILS: Final = "grpc-status-details-bin"
_OPTIONS: Final = [
    # A server that was restarted is found again within this, not within the library's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
_NEAR: Final = ("127.0.0.1:", "localhost:", "[::1]:", "unix:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """An encrypted connection.

    Args:
        ca: PEM file of the authorities that the server's certificate may come from; the system's where None.
        certificate: PEM file of the client's own certificate, where the server asks for one (mutual TLS).
        key: PEM file of its private key.
        server_name: what the server's certificate calls it, where that is not the host of the address.
    """

    ca: Path | str | None = None
    certificate: Path | str | None = None
    key: Path | str | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a client's certificate and its key are given together, or neither is")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where and how.

    Args:
        address: ``HOST:PORT``.
        tls: None or False without; True with the system's authorities.
        token: sent with each call as ``authorization: Bearer TOKEN``; a function is asked for each.

    Raises:
        ValueError: a token would go to another host in the clear, and False was not said.
    """

    address: str
    tls: Tls | bool | None = None
    token: Token | None = None

    def __post_init__(self) -> None:
        if self.token is not None and self.tls is None and not self.address.startswith(_NEAR):
            raise ValueError(
                f"a token sent to {self.address} without TLS can be read on its way: give tls=True or "
                "tls=Tls(…), or tls=False where something else encrypts"
            )

    def channel(self, library: Any) -> Any:
        """A channel of grpc, or of grpc.aio: whichever is given.

        Raises:
            OSError: a file cannot be read.
        """
        if not self.tls:
            return library.insecure_channel(self.address, options=_OPTIONS)
        import grpc  # type: ignore[import-untyped]  # noqa: PLC0415 - it ships no types; and takes 100 ms

        tls = self.tls if isinstance(self.tls, Tls) else Tls()
        credentials = grpc.ssl_channel_credentials(_read(tls.ca), _read(tls.key), _read(tls.certificate))
        name = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
        return library.secure_channel(self.address, credentials, options=[*_OPTIONS, *name])

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with each call."""
        if self.token is None:
            return ()
        token = self.token if isinstance(self.token, str) else self.token()
        return (("authorization", f"Bearer {token}"),)


def _read(file: Path | str | None) -> bytes | None:
    return None if file is None else Path(file).read_bytes()


def error_of(error: Any, *, ids: Sequence[str] = (), attempts: int = 1) -> PenstockError:
    """What a failed call of grpc said, its field violations and wishes included."""
    from google.rpc import (  # type: ignore[import-untyped]  # noqa: PLC0415 - no types; seldom needed
        error_details_pb2,
        status_pb2,
    )

    violations: list[Violation] = []
    retry_after: float | None = None
    for key, value in error.trailing_metadata() or ():
        if key != _DETAILS:
            continue
        for detail in status_pb2.Status.FromString(value).details:
            bad, again = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
            if detail.Unpack(bad):
                violations += [Violation(each.field, each.description) for each in bad.field_violations]
            elif detail.Unpack(again):
                retry_after = again.retry_delay.ToTimedelta().total_seconds()
    code = error.code().name
    return PenstockError(
        code,
        error.details() or code,
        violations=violations,
        ids=ids,
        attempts=attempts,
        retry_after=retry_after,
    )
