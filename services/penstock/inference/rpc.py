"""grpc and what comes with it, imported so that it is fast: whatever serves here gets it from this module.

Two settings of grpc itself make a call a third cheaper: its old event loop instead of the event engine, and
uvloop. The first is an experiment of the library, read when it is imported and never again. `works` finds out
at start-up whether it does, and `without_experiments` is the way back.
"""

from __future__ import annotations

import os
import sys
from typing import Final, NoReturn

EXPERIMENTS: Final = "-event_engine_client,-event_engine_listener"
os.environ.setdefault("GRPC_EXPERIMENTS", EXPERIMENTS)
# Children of this process (models are tried in one) never use grpc, which would complain of each in our log.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import grpc  # type: ignore[import-untyped]  # noqa: E402  # it ships no types; see above
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # noqa: E402
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]  # noqa: E402

__all__ = [
    "EXPERIMENTS",
    "SERVICE",
    "answers",
    "grpc",
    "health",
    "health_pb2",
    "health_pb2_grpc",
    "reflection",
    "without_experiments",
    "works",
]

SERVICE: Final = "inference.GRPCInferenceService"


async def _live(request: bytes, _: object) -> bytes:
    return request


_LIVE: Final = grpc.unary_unary_rpc_method_handler(_live)


async def answers(address: str, seconds: float = 5.0) -> bool:
    """Whether a server at this address answers at all."""
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ServerLive")
        try:
            await call(b"", timeout=seconds, wait_for_ready=True)
        except grpc.aio.AioRpcError:
            return False
    return True


async def works() -> bool:
    """Whether grpc serves as it is set up here: asked of a server of its own, since ours may let in few."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"ServerLive": _LIVE}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        return await answers(f"127.0.0.1:{port}")
    finally:
        await server.stop(0)


def without_experiments() -> NoReturn:
    """Begin this process anew, with grpc as it comes: its experiments do not work here."""
    environment = {**os.environ, "GRPC_EXPERIMENTS": ""}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - our own command line
