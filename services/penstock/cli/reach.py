"""How a verb reaches inference: where it is, TLS, and the token it asks for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from penstock.cli.exits import Exit, Failure
from penstock.cli.state import DATA_FOLDER, read_state

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from penstock.client import Client

DEFAULT: Final = "127.0.0.1:8001"
TOKEN: Final = "PENSTOCK_GRPC_TOKEN"  # noqa: S105 - the name of a variable
ATTEMPTS: Final = 3
"""Whoever sits before it sees that it failed, and asks again."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help=f"of inference; else PENSTOCK_GRPC, else what `penstock up` runs here, else {DEFAULT}",
    )
    parser.add_argument("--tls", action="store_true", help=f"encrypt; a token is taken from {TOKEN}")
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="PEM of the authority to trust; implies --tls"
    )
    parser.add_argument(
        "--certificate", type=Path, metavar="FILE", help="PEM to show, where one is asked for"
    )
    parser.add_argument("--key", type=Path, metavar="FILE", help="PEM of the certificate's key")


def grpc_address(given: str | None, *, environment: Mapping[str, str] = os.environ) -> str:
    """Where inference is: what was given, else PENSTOCK_GRPC, else what `up` wrote here, else 8001."""
    if named := given or environment.get("PENSTOCK_GRPC"):
        return named
    state = read_state(Path(DATA_FOLDER))
    return state.grpc if state else DEFAULT


def connect(args: argparse.Namespace, address: str, *, environment: Mapping[str, str] = os.environ) -> Client:
    """A client for the pipeline that a verb is about.

    Raises:
        Failure: a file cannot be read, a certificate comes without its key, or a token would go out in the
            clear.
    """
    from penstock.client import Client, Retry, Tls  # noqa: PLC0415 - `--help` does without

    files = (args.ca, args.certificate, args.key)
    try:
        return Client(
            address,
            pipeline=args.pipeline,
            retry=Retry(attempts=ATTEMPTS),
            tls=Tls(ca=args.ca, certificate=args.certificate, key=args.key)
            if any(files)
            else args.tls or None,
            token=environment.get(TOKEN) or None,
        )
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}", Exit.USAGE) from error
    except ValueError as error:
        if environment.get(TOKEN) and not (args.tls or any(files)):
            raise Failure(
                f"{TOKEN} is not sent to {address} in the clear: give --tls or --ca", Exit.USAGE
            ) from error
        raise Failure(str(error), Exit.USAGE) from error
