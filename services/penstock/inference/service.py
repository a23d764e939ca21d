"""Inference: what does the model say? On the stream, exactly once, and over gRPC, at once."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from penstock.inference.artifacts import Artifacts
from penstock.inference.cpus import cpus_of
from penstock.inference.front import Front
from penstock.inference.loader import Shelf
from penstock.inference.security import Tokens, certificates_of
from penstock.inference.stream import StreamTask
from penstock.inference.tally import Tally
from penstock.runtime.serve import serve
from penstock.runtime.settings import WrongSetting

if TYPE_CHECKING:
    from penstock.inference.settings import InferenceSettings


def main(settings: InferenceSettings) -> None:
    """Run until told to stop.

    Raises:
        WrongSetting: the address to listen on is none, there are no such processors, or the files of TLS and
            tokens cannot be used.
        OSError: it is taken by another process, or not one of this machine.
    """
    require_free(settings.listen)
    require_usable(settings)
    folder = settings.artifacts
    kept = None if folder is None else Artifacts(folder, most=settings.artifacts_megabytes * 2**20)
    cpus = cpus_of(settings.scoring_cpus)
    shelf, tally = Shelf(artifacts=kept, threads=settings.onnx_threads, cpus=cpus), Tally()
    serve(
        "inference",
        settings,
        [lambda catalog, broker: StreamTask(catalog, broker, shelf, tally)],
        [lambda broker, telemetry: Front(broker, telemetry, settings=settings, shelf=shelf, tally=tally)],
    )
    shelf.close()


def require_usable(settings: InferenceSettings) -> None:
    """Say in one line, before anything runs, that certificates or tokens cannot be used."""
    certificates_of(settings)
    if settings.tokens is not None:
        Tokens(settings.tokens)


def require_free(listen: str) -> None:
    """Say in one line, before anything runs, that the address cannot be listened on."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        message = f"PENSTOCK_LISTEN is {listen!r}, expected HOST:PORT"
        raise WrongSetting(message, field="PENSTOCK_LISTEN", reason="setting")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        socket.create_server((host.strip("[]"), int(port)), family=family).close()
    except OSError as error:
        taken = "another process listens there; name another address with --listen or PENSTOCK_LISTEN"
        why = taken if error.errno == errno.EADDRINUSE else f"cannot listen there: {error.strerror or error}"
        raise OSError(error.errno or errno.EADDRNOTAVAIL, why, listen) from error
