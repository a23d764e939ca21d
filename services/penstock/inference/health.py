"""Whether inference may be sent calls: ``python -m penstock.inference.health HOST:PORT`` ends with 0 if so.

The check of the gRPC health protocol, for a container's healthcheck.
"""

from __future__ import annotations

import sys

import grpc  # type: ignore[import-untyped]  # it ships no types
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # nor does this


def serving(address: str, *, service: str = "", seconds: float = 3.0) -> bool:
    """Whether the server at the address says SERVING."""
    with grpc.insecure_channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=service), timeout=seconds
            )
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    sys.exit(0 if serving(sys.argv[1]) else 1)
