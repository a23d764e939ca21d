"""One call too many is refused and told when to come again; health is told of each pipeline."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]  # it ships no types
import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # nor does this
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # nor does this

from penstock.inference.domain import Waiting
from penstock.inference.door import RETRY_SECONDS
from penstock.inference.rpc import SERVICE
from tests.inference.asking import packed
from tests.inference.asking import serving as fast_serving
from tests.inference.running import ROW, Running, running, until
from tests.inference.test_inference_slowly import Gated, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
GONE = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def test_one_call_too_many_is_refused_and_told_when_to_come_again() -> None:
    champion = Gated()
    with running({"trips": serving(champion)}, concurrency=2) as up, ThreadPoolExecutor(2) as pool:
        up.call(up.server.announce(ready=True))
        first = [pool.submit(up.ask, "ModelInfer", packed(ROW)) for _ in range(2)]
        until(lambda: up.server.door.inside == 2)
        error = up.refused(packed(ROW))
        assert (error.code().name, error.details()) == (
            "RESOURCE_EXHAUSTED",
            "this server has 2 calls in hand, which is as many as it takes",
        )
        trailing = dict(error.trailing_metadata())
        status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
        retry = error_details_pb2.RetryInfo()
        assert status.details[0].Unpack(retry)
        assert retry.retry_delay.ToTimedelta().total_seconds() == RETRY_SECONDS
        assert trailing["grpc-retry-pushback-ms"] == "100"
        stream = up.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
        with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED"):
            list(stream(iter([packed(ROW)]), timeout=20))
        # A probe is no call: a server that has much to do is not one to be killed.
        check = health_pb2_grpc.HealthStub(up.channel).Check
        assert check(health_pb2.HealthCheckRequest(), timeout=20).status == SERVING
        champion.go.set()
        assert all(each.result(20) for each in first)
        until(lambda: up.server.door.inside == 0)
        assert up.ask("ModelInfer", packed(ROW))
        codes = [code for method, code, _ in up.heard.calls]
    assert codes.count("RESOURCE_EXHAUSTED") == 2


def test_calls_whose_callers_have_gone_make_room() -> None:
    champion = Gated()
    with running({"trips": serving(champion)}, concurrency=1) as up:
        for _ in range(3):
            assert up.refused(packed(ROW), timeout=0.1).code().name == "DEADLINE_EXCEEDED"
            until(lambda: up.server.door.inside == 0)
        champion.go.set()
        assert up.ask("ModelInfer", packed(ROW))


async def _ask(call: Any, stopped: threading.Event) -> tuple[int, Counter[str]]:
    """Ask until nobody is there any more: how many answers, and what else was said."""
    answered, failed = 0, Counter[str]()
    while True:
        try:
            await call(packed(ROW), timeout=20)
            answered += 1
        except grpc.aio.AioRpcError as error:
            failed[error.code().name] += 1
            if stopped.is_set():
                return answered, failed
            await asyncio.sleep(0.01)


async def _ask_all(address: str, stopped: threading.Event) -> list[tuple[int, Counter[str]]]:
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        return await asyncio.gather(*(_ask(call, stopped) for _ in range(32)))


def test_a_stop_answers_every_call_that_came_before_it() -> None:
    up, stopped = Running({"trips": fast_serving()}), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(asyncio.run, _ask_all(up.address, stopped))
        until(lambda: len(up.logged) > 100)
        up.call(up.server.stop(20))
        stopped.set()
        results = asking.result(30)
    # Each was answered, or told that nobody is there; and whatever was scored was answered.
    assert {code for _, failed in results for code in failed} == {"UNAVAILABLE"}
    assert sum(answered for answered, _ in results) == len(up.logged)
    up.close()


def test_a_stop_answers_the_messages_of_a_stream_and_ends_it() -> None:
    champion, more = Gated(), threading.Event()
    up = Running({"trips": serving(champion)})
    stream = up.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")

    def messages(*bodies: bytes) -> Iterator[bytes]:
        yield from bodies
        more.wait(20)

    busy, idle = stream(messages(packed(ROW)), timeout=20), stream(messages(), timeout=20)
    until(lambda: champion.runs and up.server.door.inside == 2)
    stopping = asyncio.run_coroutine_threadsafe(up.server.stop(20), up.loop)
    until(lambda: up.server._stopping)
    champion.go.set()
    assert next(busy)
    for each in (busy, idle):
        with pytest.raises(grpc.RpcError) as caught:
            list(each)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert caught.value.details() == "this server stops: open the stream anew"
    stopping.result(20)
    more.set()
    up.close()


def test_health_is_told_of_each_pipeline() -> None:
    with running({"trips": fast_serving(), "new": Waiting(reason="version 0 is not there yet")}) as up:
        stub = health_pb2_grpc.HealthStub(up.channel)

        def status(name: str) -> int:
            found: int = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=20).status
            return found

        with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
            status("trips")
        up.call(up.server.look())
        assert (status("trips"), status("new")) == (SERVING, NOT_SERVING)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="new"), timeout=20)
        assert next(watch).status == NOT_SERVING
        up.directory = {"new": fast_serving()}
        up.call(up.server.look())
        assert next(watch).status == SERVING
        watch.cancel()
        assert status("trips") == GONE
