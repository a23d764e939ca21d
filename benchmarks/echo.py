"""The least that a grpc.aio server in Python costs: it answers every message with a fixed one.

    python -m benchmarks.echo HOST:PORT BYTES

with the flags, the event loop and the kind of handlers that inference uses, so that what inference takes on
top of this is its own.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

import uvloop

# It sets what grpc reads when it is imported.
from penstock.inference.servicer import MESSAGE_LIMIT, SERVICE

import grpc  # type: ignore[import-untyped]  # isort: skip  # it ships no types
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # isort: skip


async def main(listen: str, size: int) -> None:
    """Serve until SIGTERM."""
    answer = bytes(size)

    async def unary(_: bytes, __: Any) -> bytes:
        return answer

    async def stream(_: Any, context: Any) -> None:
        while await context.read() is not grpc.aio.EOF:
            await context.write(answer)

    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MESSAGE_LIMIT),
            ("grpc.max_send_message_length", MESSAGE_LIMIT),
        ]
    )
    handlers = {
        "ModelInfer": grpc.unary_unary_rpc_method_handler(unary),
        "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(stream),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    said = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(said, server)
    await said.set("", health_pb2.HealthCheckResponse.SERVING)
    server.add_insecure_port(listen)
    await server.start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await server.stop(0)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
