"""Inference as a whole, on the cluster in memory: stream and gRPC beside each other, through everything."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]  # it ships no types
import pytest

from penstock.client import ONCE, Client, PenstockError, Row
from penstock.contracts.records import Origin, Prediction, PredictionsLost, Refusal, ReplicaReported
from penstock.inference import health
from penstock.inference.front import Front
from penstock.inference.service import require_free
from penstock.inference.settings import InferenceSettings
from penstock.runtime.catalog import Catalog
from penstock.runtime.settings import WrongSetting
from penstock.runtime.telemetry import off
from tests.inference.world import NAMES_OF, PREDICTIONS, World, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SETTINGS = InferenceSettings(listen="127.0.0.1:0", slot="3")
ROW: Row = {"distance": 3.0, "line": "red"}


class Fronted:
    """The gRPC side in a thread of its own, as `serve` runs it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.failed: BaseException | None = None
        self._up, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        assert self._up.wait(30)
        self.client = Client(self.address, pipeline="trips", seconds=20, retry=ONCE)

    def _live(self) -> None:
        try:
            front = Front(
                self.world.broker, off(), settings=SETTINGS, shelf=self.world.shelf, tally=self.world.tally
            )
            self.address = f"127.0.0.1:{front.port}"
            self.front = front
            self._up.set()
            while not self._stop.is_set():
                front.step()
            front.close()
        except BaseException as error:
            self.failed = error
            raise

    def close(self) -> None:
        self.client.close()
        self._stop.set()
        self._thread.join(30)
        assert self.failed is None
        assert not self._thread.is_alive()


@contextlib.contextmanager
def fronted(world: World) -> Iterator[Fronted]:
    front = Fronted(world)
    try:
        yield front
    finally:
        front.close()


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "did not happen within 20 s"
        time.sleep(0.005)


@pytest.fixture
def world() -> World:
    return World()


def logged(world: World, kind: type = Prediction) -> list[Any]:
    codec = Catalog(world.broker, NAMES_OF).codec
    found = [codec.decode(record.value or b"").value for record in world.broker.records(PREDICTIONS)]
    return [each for each in found if isinstance(each, kind)]


def reports(world: World) -> list[ReplicaReported]:
    return [
        world.codec.decode(record.value or b"").value
        for record in world.broker.records(NAMES_OF.of("replicas"))
    ]


def test_day_0_over_grpc(world: World) -> None:
    with fronted(world) as front:
        with pytest.raises(PenstockError, match="has just started") as starting:
            front.client.predict(ROW)
        assert starting.value.code == "UNAVAILABLE"
        assert not health.serving(front.address)

        loop = world.replica()
        run(loop)
        with pytest.raises(PenstockError, match="version 0 is not there yet"):
            front.client.predict(ROW)

        world.model(0, 0.25)
        world.route(epoch=1, champion=0)
        run(loop)
        prediction = front.client.predict(ROW, id="trip-1")
        assert (prediction.id, prediction.scores, prediction.version) == ("trip-1", (0.25,), 0)
        until(lambda: health.serving(front.address))
        until(lambda: [each.id for each in logged(world)] == ["trip-1"])
        (record,) = logged(world)
        assert (record.origin, record.epoch, record.version) == (Origin.GRPC, 1, 0)


def test_stream_and_grpc_answer_alike(world: World) -> None:
    for version in (0, 1):
        world.model(version, version / 2)
    world.route(epoch=2, champion=0, canary=1, share=0.5, salt="s")
    loop = world.replica()
    ids = [f"trip-{number}" for number in range(30)]
    world.rows(*ids)
    run(loop)
    with fronted(world) as front:
        found = front.client.predict([ROW] * 30, id=ids)
        until(lambda: len(logged(world)) == 60)
    by_stream = {each.id: each.version for each in logged(world) if each.origin is Origin.STREAM}
    assert {each.id: each.version for each in found} == by_stream
    assert set(by_stream.values()) == {0, 1}


def test_a_promotion_in_the_middle_of_calls(world: World) -> None:
    world.model(0, 0.0)
    world.model(1, 1.0)
    world.route(epoch=1, champion=1)
    loop = world.replica()
    run(loop)
    answered: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            prediction = front.client.predict(ROW)
            assert prediction.scores == (float(prediction.version),)
            answered.append(prediction.version)

    with fronted(world) as front:
        thread = threading.Thread(target=ask)
        thread.start()
        try:
            for epoch in range(2, 12):
                champion = epoch % 2
                before = len(answered)
                world.route(epoch=epoch, champion=champion, shadows=(1 - champion,))
                run(loop)
                until(lambda before=before, champion=champion: champion in answered[before:])  # type: ignore[misc]  # defaults, to bind them
        finally:
            stop.set()
            thread.join(30)
        total = len(answered)
        until(lambda: len(logged(world)) == total)
    assert {each.epoch for each in logged(world)} >= set(range(2, 12))


def test_grpc_goes_on_while_the_broker_is_away(world: World) -> None:
    world.model(0, 0.25)
    world.route(epoch=1, champion=0)
    run(world.replica())
    with fronted(world) as front:
        front.client.predict(ROW, id="before")
        until(lambda: logged(world) and health.serving(front.address))
        world.broker.away = True
        for number in range(5):
            assert front.client.predict(ROW, id=f"dark-{number}").scores == (0.25,)
        assert health.serving(front.address)
        until(lambda: not front.front._record._rows)  # none waits to be handed to the producer any more
        world.broker.away = False
        until(lambda: logged(world, PredictionsLost))
        front.client.predict(ROW, id="after")
        until(lambda: len(logged(world)) == 2)
    assert {each.id for each in logged(world)} == {"before", "after"}
    assert sum(each.count for each in logged(world, PredictionsLost)) == 5
    assert {(each.pipeline, each.slot) for each in logged(world, PredictionsLost)} == {("trips", "3")}


def test_a_replica_reports_what_it_serves(world: World) -> None:
    world.model(0, 0.25)
    world.model(1, 0.5, digest="0" * 64, size=7)
    world.route(epoch=4, champion=0, shadows=(1,))
    run(world.replica())
    with fronted(world):
        until(lambda: reports(world))
        (report,) = reports(world)
        assert (report.pipeline, report.slot, report.epoch, report.loaded) == ("trips", "3", 4, (0,))
        assert report.refused == (Refusal(version=1, reason="blob 000000000000 lacks chunk 0 of 1"),)
    report_, gone = world.broker.records(NAMES_OF.of("replicas"))
    assert (report_.key, gone.key, gone.value) == (b"3/trips", b"3/trips", None)


def test_a_stop_logs_what_was_answered(world: World) -> None:
    world.model(0, 0.25)
    world.route(epoch=1, champion=0)
    run(world.replica())
    with fronted(world) as front:
        ids = [front.client.predict(ROW).id for _ in range(50)]
    assert sorted(each.id for each in logged(world)) == sorted(ids)


def test_a_taken_address_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        run_it = [sys.executable, "-m", "penstock", "run", "inference", "--listen", listen]
        ended = subprocess.run(run_it, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr == (
        f"{listen}: another process listens there; name another address with --listen or PENSTOCK_LISTEN\n"
    )


def test_an_address_that_is_none() -> None:
    for listen in ("8001", ":8001", "localhost:grpc"):
        with pytest.raises(WrongSetting, match="expected HOST:PORT"):
            require_free(listen)
    with pytest.raises(OSError, match="cannot listen there"):
        require_free("192.0.2.1:8001")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def test_where_grpcs_experiments_do_not_work_it_begins_anew_without_them() -> None:
    listen, nobody = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    code = f"""
from penstock.inference import front, service, settings
async def deaf(*_):
    return False
front.works = deaf
service.main(settings.InferenceSettings(listen="{listen}", broker="{nobody}"))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        seen: list[str] = []
        for line in process.stderr:
            event = json.loads(line)["event"]
            seen.append(event)
            if event == "listening":
                break
        with grpc.insecure_channel(listen) as channel:
            live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            assert live(b"", timeout=30, wait_for_ready=True)
    finally:
        process.terminate()
        process.communicate(timeout=60)
    without_waiting = [event for event in seen if event != "waiting"]
    assert without_waiting == ["started", "grpc_experiments_do_not_work", "started", "listening"]
    assert process.returncode == 0


def test_without_a_broker_it_waits_and_says_so_over_grpc() -> None:
    listen, nobody = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    run_it = [sys.executable, "-m", "penstock", "run", "inference", "--listen", listen, "--broker", nobody]
    process = subprocess.Popen(run_it, stderr=subprocess.PIPE, text=True)
    try:
        with grpc.insecure_channel(listen) as channel:
            live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            assert live(b"", timeout=30, wait_for_ready=True)
        assert not health.serving(listen)
        with (
            Client(listen, pipeline="trips", retry=ONCE) as client,
            pytest.raises(PenstockError, match="has just started"),
        ):
            client.predict(ROW)
    finally:
        process.terminate()
        _, lines = process.communicate(timeout=60)
    assert process.returncode == 0, lines
    assert '"event": "listening"' in lines
    assert lines.count('"event": "waiting"') == 1, lines
