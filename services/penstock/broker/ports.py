"""Ports on 127.0.0.1 that are free, and stay so while a broker is down."""

from __future__ import annotations

import socket
from contextlib import closing
from secrets import randbelow

from penstock.broker.errors import BrokerError

HOST = "127.0.0.1"

# Below the range from which kernels take the ports of outgoing connections (Linux 32768 on, macOS 49152 on).
# A port of that range is not safe: while the broker is down its clients keep dialling it, and now and then
# one is given that very port for its own end, connects to itself, and the broker cannot come back.
LOWEST, HIGHEST = 20_000, 32_000
LARGEST = 65_535


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now, with SO_REUSEADDR as Java sets it."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def free_port(*, besides: int | None = None) -> int:
    """A free port, chosen at random so that brokers started at the same moment do not meet.

    Raises:
        BrokerError: a thousand tries found none.

    >>> LOWEST <= free_port() < HIGHEST
    True
    """
    for _ in range(1_000):
        port = LOWEST + randbelow(HIGHEST - LOWEST)
        if port != besides and is_free(port):
            return port
    raise BrokerError(f"no free port between {LOWEST} and {HIGHEST} on {HOST}")


def require_free(port: int) -> int:
    """The port itself, where a person has asked for this one.

    Raises:
        BrokerError: it is taken, reserved for the system, or not a port.
    """
    if not 0 < port <= LARGEST:
        raise BrokerError(f"{port} is not a port: choose one between 1 and {LARGEST}")
    if not is_free(port):
        raise BrokerError(
            f"port {port} on {HOST} is taken: choose another, or leave it out to get a free one"
        )
    return port
