"""Where the broker is: the one rule for every verb, and one line where nothing answers there."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.cli.exits import Exit, Failure
from penstock.cli.state import DATA_FOLDER, read_state

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

DEFAULT = "127.0.0.1:9092"


def add_broker(parser: argparse.ArgumentParser) -> None:
    """The ``--broker`` option, with its rule in the help."""
    parser.add_argument(
        "--broker",
        metavar="HOST:PORT",
        help=f"Kafka's address; else PENSTOCK_BROKER, else what `penstock up` runs here, else {DEFAULT}",
    )


def broker_address(
    given: str | None, *, environment: Mapping[str, str] = os.environ, folder: Path = Path(DATA_FOLDER)
) -> str:
    """The bootstrap address: what was given, else PENSTOCK_BROKER, else what `up` wrote here, else 9092.

    >>> broker_address("kafka:9092"), broker_address(None, environment={"PENSTOCK_BROKER": "k:1"})
    ('kafka:9092', 'k:1')
    """
    if named := given or environment.get("PENSTOCK_BROKER"):
        return named
    state = read_state(folder)
    return state.bootstrap if state else DEFAULT


def reach(bootstrap: str, *, timeout: float = 5.0) -> str:
    """The address again, once something accepts a connection at one of its hosts.

    Client libraries retry for ever and log while they do; a verb asks first, so that a person who forgot
    `penstock up` gets one line at once.

    Args:
        bootstrap: ``HOST:PORT``, several separated by commas.
        timeout: seconds for each host.

    Raises:
        Failure: with exit code 6 where nothing answers, 2 where it is no address.
    """
    why = ""
    for address in bootstrap.split(","):
        host, port = _split(address.strip())
        try:
            socket.create_connection((host, port), timeout).close()
        except OSError as error:
            why = error.strerror or str(error)
        else:
            return bootstrap
    raise Failure(
        f"no broker answers at {bootstrap} ({why}); start one with `penstock up` or name one with --broker",
        Exit.UNREACHABLE,
    )


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise Failure(f"{address!r} is no address, expected HOST:PORT", Exit.USAGE)
    return host.strip("[]"), int(port)
