"""Whether inference may be sent calls: ``python -m penstock.inference.health HOST:PORT`` ends with 0 if so.

The check of the gRPC health protocol, for a container's healthcheck; ``--service flights`` asks for one
pipeline. Where the server speaks TLS, ``--ca`` is the authority of its certificate, ``--certificate`` and
``--key`` are a client's where it asks for one, ``--name`` is what its certificate says, if that is not HOST.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]  # it ships no types
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # nor does this

if TYPE_CHECKING:
    from collections.abc import Sequence


def serving(
    address: str, *, service: str = "", seconds: float = 3.0, credentials: Any = None, name: str = ""
) -> bool:
    """Whether the server at the address says SERVING.

    Args:
        address: ``HOST:PORT``.
        service: a pipeline; the whole server where it is left out.
        seconds: how long it may take.
        credentials: of a channel over TLS; plain text where they are left out.
        name: that the server's certificate has, where it is not the address'.
    """
    options = [("grpc.ssl_target_name_override", name)] if name else []
    with (
        grpc.insecure_channel(address)
        if credentials is None
        else grpc.secure_channel(address, credentials, options)
    ) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=service), timeout=seconds
            )
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def main(words: Sequence[str]) -> int:
    """0 where it may, 1 where it may not or does not answer."""
    parser = argparse.ArgumentParser(prog="python -m penstock.inference.health")
    parser.add_argument("address", metavar="HOST:PORT")
    parser.add_argument("--service", default="", metavar="PIPELINE")
    for file in ("--ca", "--certificate", "--key"):
        parser.add_argument(file, type=Path, metavar="FILE")
    parser.add_argument("--name", default="", metavar="HOST")
    args = parser.parse_args(words)
    try:
        ca, key, certificate = (path and path.read_bytes() for path in (args.ca, args.key, args.certificate))
    except OSError as error:
        print(f"{error.filename} cannot be read: {error.strerror}", file=sys.stderr)
        return 1
    credentials = grpc.ssl_channel_credentials(ca, key, certificate) if ca or certificate else None
    said = serving(args.address, service=args.service, credentials=credentials, name=args.name)
    return 0 if said else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
