"""Closed-loop load on one channel, from one thread: so many calls, or streams, in flight at once."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

# It sets what grpc reads when it is imported.
from penstock.inference.servicer import SERVICE

import grpc  # type: ignore[import-untyped]  # isort: skip  # it ships no types

from penstock.contracts import oip_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    FloatMatrix = NDArray[np.float32]

SHAPES: Final = 512
"""So many different rows are sent, one after the other."""


def requests(model: str, matrix: FloatMatrix, *, rows: int = 1) -> Callable[[], bytes]:
    """Gives the bytes of one ModelInferRequest after the other, each with an id of its own.

    Args:
        model: the pipeline's name.
        matrix: rows to send, shape (SHAPES, features).
        rows: in each request, packed in one tensor.
    """
    message = oip_pb2.ModelInferRequest(model_name=model, id="\x01" * 12)
    message.inputs.add(name="features", datatype="FP32", shape=[rows, matrix.shape[1]])
    message.raw_input_contents.append(matrix[:rows].tobytes())
    before, _, after = message.SerializeToString().partition(b"\x01" * 12)
    head = after[: -4 * rows * matrix.shape[1]]
    bodies = [matrix[(at + np.arange(rows)) % len(matrix)].tobytes() for at in range(SHAPES)]
    number = 0

    def following() -> bytes:
        nonlocal number
        number += 1
        return b"%b%012d%b%b" % (before, number, head, bodies[number % SHAPES])

    return following


class Load:
    """One channel to one server."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address)
        self._unary = self._channel.unary_unary(f"/{SERVICE}/ModelInfer")
        self._stream = self._channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")

    async def close(self) -> None:
        await self._channel.close()

    async def unary(self, following: Callable[[], bytes], *, in_flight: int, seconds: float) -> list[float]:
        """Seconds that each call took, for as long as told."""
        call, took = self._unary, list[float]()
        clock = time.perf_counter
        until = clock() + seconds

        async def ask() -> None:
            began = clock()
            while began < until:
                await call(following())
                ended = clock()
                took.append(ended - began)
                began = ended

        await asyncio.gather(*(ask() for _ in range(in_flight)))
        return took

    async def stream(self, following: Callable[[], bytes], *, streams: int, seconds: float) -> int:
        """How many messages were answered, on so many streams with one message in flight on each."""
        until = time.perf_counter() + seconds
        answered = 0

        async def ask() -> None:
            nonlocal answered
            call: Any = self._stream()
            while time.perf_counter() < until:
                await call.write(following())
                await call.read()
                answered += 1
            await call.done_writing()
            while await call.read() is not grpc.aio.EOF:
                pass

        await asyncio.gather(*(ask() for _ in range(streams)))
        return answered
