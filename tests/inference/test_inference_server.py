"""The gRPC server as its callers see it: a real one, on a free port."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]  # it ships no types
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # nor does this
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # nor does this
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped]  # nor does this
    reflection_pb2,
    reflection_pb2_grpc,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.contracts import oip_pb2 as oip
from penstock.inference import health, servicer
from penstock.inference.domain import Waiting
from penstock.inference.rpc import answers
from penstock.inference.servicer import MESSAGE_LIMIT, SERVICE, Server
from penstock.runtime.telemetry import off
from tests.inference.asking import Breaks, packed, response, scores_of, serving
from tests.inference.running import ROW, Running, Slow, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running({"trips": serving(), "new": Waiting(reason="version 0 is not there yet")}) as up:
        yield up


def test_a_row_is_answered_and_logged(server: Running) -> None:
    message = response(server.ask("ModelInfer", packed(ROW, id="trip-1")))
    assert (message.id, scores_of(message)) == ("trip-1", [[27.5]])
    until(lambda: [headers for served, headers in server.logged if served.asked.ids == ("trip-1",)])
    (headers,) = [headers for served, headers in server.logged if served.asked.ids == ("trip-1",)]
    assert headers == (("traceparent", b"ours"),)


def test_a_request_without_id_gets_one_of_its_own(server: Running) -> None:
    ids = {response(server.ask("ModelInfer", packed(ROW))).id for _ in range(3)}
    assert len(ids) == 3
    assert all(len(id_) == 32 for id_ in ids)


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (packed(ROW[:3]), "INVALID_ARGUMENT", "tensor 'features' has shape [1, 3], expected [1, 5]"),
        (packed(ROW, model_name="trip"), "NOT_FOUND", "no pipeline 'trip' (did you mean 'trips'?)"),
        (packed(ROW, model_version="7"), "NOT_FOUND", "pipeline 'trips' has no version '7' here, only 1"),
        (
            packed(ROW, model_name="new"),
            "UNAVAILABLE",
            "pipeline 'new' cannot answer yet: version 0 is not there yet",
        ),
        (b"\xff", "INVALID_ARGUMENT", "the message is not a ModelInferRequest"),
    ],
)
def test_each_fault_has_its_status(server: Running, body: bytes, code: str, text: str) -> None:
    error = server.refused(body)
    assert (error.code().name, error.details()) == (code, text)
    until(lambda: ("ModelInfer", code, None) in server.heard.calls)


def test_field_violations_come_as_google_rpc_details(server: Running) -> None:
    error = server.refused(packed(ROW[:3]))
    (body,) = [value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin"]
    status = status_pb2.Status.FromString(body)
    assert (status.code, status.message) == (grpc.StatusCode.INVALID_ARGUMENT.value[0], error.details())
    bad = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(bad)
    assert [(each.field, each.description) for each in bad.field_violations] == [
        ("features", error.details())
    ]


def test_a_champion_that_fails_is_internal_and_the_server_stays() -> None:
    with running({"trips": serving(Breaks())}) as up:
        error = up.refused(packed(ROW))
        assert (error.code().name, error.details()) == (
            "INTERNAL",
            "version 1 could not score: no luck with 1 rows",
        )
        until(lambda: len(up.logged) == 1)
        up.directory = {"trips": serving()}
        assert scores_of(response(up.ask("ModelInfer", packed(ROW)))) == [[27.5]]


def test_a_bug_is_internal_and_the_server_stays(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    with monkeypatch.context() as patched:
        patched.setattr(servicer, "read", broken)
        error = server.refused(packed(ROW))
    assert error.code().name == "INTERNAL"
    assert error.details() == "this is a bug in Penstock, and in its log: ZeroDivisionError"
    assert server.ask("ModelInfer", packed(ROW))


def test_the_request_id_comes_back_whatever_the_answer(server: Running) -> None:
    call = server.channel.unary_unary(f"/{SERVICE}/ModelInfer")
    metadata = (("x-request-id", "r-7"), ("traceparent", "00-" + "1" * 32 + "-" + "2" * 16 + "-01"))
    _, passed = call.with_call(packed(ROW), metadata=metadata, timeout=20)
    assert ("x-request-id", "r-7") in list(passed.trailing_metadata())
    until(lambda: ("ModelInfer", "OK", metadata[1][1]) in server.heard.calls)
    error = server.refused(packed(ROW[:2]), metadata=metadata)
    assert ("x-request-id", "r-7") in list(error.trailing_metadata())


def test_both_forms_and_big_batches(server: Running) -> None:
    for raw in (True, False):
        rows = [[float(row % 90), 0.0, 0.0, 0.0, 0.0] for row in range(16_384)]
        message = response(server.ask("ModelInfer", packed(*rows, raw=raw, id="big")))
        assert scores_of(message) == [[row[0]] for row in rows]


def test_a_message_above_the_limit_is_refused(server: Running) -> None:
    error = server.refused(bytes(MESSAGE_LIMIT + 1))
    assert error.code().name == "RESOURCE_EXHAUSTED"


def test_more_calls_at_once_than_allowed_are_shed() -> None:
    slow = Slow()
    big = packed(*[ROW] * 5000)  # scored in a thread, so that the server can refuse meanwhile
    with running({"trips": serving(slow)}, concurrency=1) as up, ThreadPoolExecutor(1) as pool:
        first = pool.submit(up.ask, "ModelInfer", big)
        assert slow.entered.wait(20)
        try:
            assert up.refused(packed(ROW)).code().name == "RESOURCE_EXHAUSTED"
        finally:
            slow.go.set()
        assert first.result(20)


def test_a_call_whose_deadline_passed_while_it_waited_is_not_scored() -> None:
    slow = Slow()
    with running({"trips": serving(slow)}) as up, ThreadPoolExecutor(1) as pool:
        # A small request is scored in the server's own loop, so that the next one has to wait.
        first = pool.submit(up.ask, "ModelInfer", packed(ROW, id="first"))
        assert slow.entered.wait(20)
        late = up.refused(packed(ROW, id="late"), timeout=0.2)
        slow.go.set()
        assert first.result(20)
        assert late.code().name == "DEADLINE_EXCEEDED"
        assert up.ask("ModelInfer", packed(ROW, id="after"))
        until(lambda: len(up.logged) == 2)
        assert [served.asked.id for served, _ in up.logged] == ["first", "after"]


def test_what_comes_is_an_answer_or_a_status_and_the_server_stays(server: Running) -> None:
    known = {"INVALID_ARGUMENT", "NOT_FOUND"}
    codes = Counter[str]()
    good = packed(ROW)

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        body=st.binary(max_size=80)
        | st.builds(
            lambda at, by: good[:at] + bytes([good[at] ^ by]) + good[at + 1 :],
            st.integers(0, len(good) - 1),
            st.integers(1, 255),
        )
    )
    def ask(body: bytes) -> None:
        try:
            server.ask("ModelInfer", body)
        except grpc.RpcError as error:
            codes[error.code().name] += 1
        else:
            codes["OK"] += 1

    ask()
    assert set(codes) <= known | {"OK"}
    assert codes["INVALID_ARGUMENT"]
    assert server.ask("ModelInfer", packed(ROW))


def test_companions(server: Running) -> None:
    assert oip.ServerLiveResponse.FromString(server.ask("ServerLive")).live
    metadata = oip.ServerMetadataResponse.FromString(server.ask("ServerMetadata"))
    assert metadata.name == "penstock"
    assert metadata.version
    ready = {
        (name, version): oip.ModelReadyResponse.FromString(
            server.ask("ModelReady", oip.ModelReadyRequest(name=name, version=version).SerializeToString())
        ).ready
        for name, version in (("trips", ""), ("trips", "1"), ("trips", "2"), ("new", ""))
    }
    assert ready == {("trips", ""): True, ("trips", "1"): True, ("trips", "2"): False, ("new", ""): False}
    with pytest.raises(grpc.RpcError) as caught:
        server.ask("ModelReady", oip.ModelReadyRequest(name="nobody").SerializeToString())
    assert caught.value.code().name == "NOT_FOUND"


def test_model_metadata_says_what_to_send(server: Running) -> None:
    body = server.ask("ModelMetadata", oip.ModelMetadataRequest(name="trips").SerializeToString())
    message = oip.ModelMetadataResponse.FromString(body)
    assert (message.name, list(message.versions), message.platform) == ("trips", ["1"], "onnxruntime_onnx")
    assert [(each.name, each.datatype, list(each.shape)) for each in message.inputs] == [
        ("distance", "FP32", [-1, 1]),
        ("line", "BYTES", [-1, 1]),
        ("rush", "BOOL", [-1, 1]),
        ("hour", "FP32", [-1, 1]),
        ("planned_hour", "FP32", [-1, 1]),
    ]
    assert [(each.name, each.datatype, list(each.shape)) for each in message.outputs] == [
        ("scores", "FP32", [-1, 1])
    ]


def test_what_the_metadata_says_can_be_sent_so(server: Running) -> None:
    body = server.ask("ModelMetadata", oip.ModelMetadataRequest(name="trips").SerializeToString())
    request = oip.ModelInferRequest(model_name="trips")
    contents: dict[str, tuple[str, Any]] = {
        "FP32": ("fp32_contents", 1.0),
        "BYTES": ("bytes_contents", b"red"),
        "BOOL": ("bool_contents", True),
    }
    for each in oip.ModelMetadataResponse.FromString(body).inputs:
        tensor = request.inputs.add(name=each.name, datatype=each.datatype, shape=[2, *each.shape[1:]])
        field, value = contents[each.datatype]
        getattr(tensor.contents, field).extend([value, value])
    assert scores_of(response(server.ask("ModelInfer", request.SerializeToString()))) == [[5.0], [5.0]]


def test_model_config_is_that_of_one_row(server: Running) -> None:
    body = server.ask("ModelConfig", oip.ModelConfigRequest(name="trips").SerializeToString())
    config = oip.ModelConfigResponse.FromString(body).config
    assert (config.name, config.platform, config.max_batch_size) == ("trips", "onnxruntime_onnx", 16_384)
    assert [(each.name, each.data_type, list(each.dims), each.optional) for each in config.input][:2] == [
        ("distance", oip.TYPE_FP32, [1], True),
        ("line", oip.TYPE_STRING, [1], True),
    ]
    assert {name: each.string_value for name, each in config.parameters.items()} == {
        "id": "id",
        "event_time": "t",
        "timestamps": '["planned"]',
    }


def test_the_repository_index_lists_what_is_loaded_and_what_waits(server: Running) -> None:
    def index(*, ready: bool) -> list[tuple[str, str, str, str]]:
        body = server.ask("RepositoryIndex", oip.RepositoryIndexRequest(ready=ready).SerializeToString())
        models = oip.RepositoryIndexResponse.FromString(body).models
        return [(each.name, each.version, each.state, each.reason) for each in models]

    there = ("trips", "1", "READY", "")
    assert index(ready=True) == [there]
    assert index(ready=False) == [("new", "", "UNAVAILABLE", "version 0 is not there yet"), there]


def test_readiness_is_said_by_both_protocols() -> None:
    with running({}) as up:
        for ready in (False, True):
            up.call(up.server.announce(ready=ready))
            assert oip.ServerReadyResponse.FromString(up.ask("ServerReady")).ready is ready
            assert [health.serving(up.address, service=name) for name in ("", SERVICE)] == [ready, ready]
            probe = [sys.executable, "-m", "penstock.inference.health", up.address]
            assert (subprocess.run(probe, check=False).returncode == 0) is ready
    assert not health.serving(up.address, seconds=0.5)


def test_reflection_lists_the_services(server: Running) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = stub.ServerReflectionInfo(iter([request]), timeout=20)
    names = {each.name for each in answer.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names


def test_a_stop_says_not_serving_and_finishes_what_is_in_flight() -> None:
    slow = Slow()
    up = Running({"trips": serving(slow)})
    up.call(up.server.announce(ready=True))
    watch = health_pb2_grpc.HealthStub(up.channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
    serving_now, not_serving = (
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    )
    assert next(watch).status == serving_now
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(up.ask, "ModelInfer", packed(*[ROW] * 5000))
        assert slow.entered.wait(20)
        stopping = asyncio.run_coroutine_threadsafe(up.server.stop(20), up.loop)
        assert next(watch).status == not_serving
        watch.cancel()
        slow.go.set()
        assert len(scores_of(response(first.result(20)))) == 5000
        stopping.result(20)
    up.close()


def test_a_taken_port_is_one_clear_line(server: Running) -> None:
    async def second() -> None:
        other = Server(
            server.address,
            directory=dict,
            log=lambda *_: None,
            telemetry=off(),
            concurrency=1,
        )
        try:
            await other.start()
        finally:
            await other.stop(0)

    with pytest.raises(OSError, match="taken by another process") as caught:
        asyncio.run(second())
    assert caught.value.filename == server.address


def test_the_start_up_check_tells_a_server_that_answers_from_one_that_does_not(server: Running) -> None:
    assert asyncio.run(answers(server.address))
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        assert not asyncio.run(answers(f"127.0.0.1:{deaf.getsockname()[1]}", 0.3))


def test_grpc_runs_with_its_old_event_loop() -> None:
    code = (
        "import os; from penstock.inference import rpc; "
        "print(os.environ['GRPC_EXPERIMENTS'] == rpc.EXPERIMENTS)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"True\n"


class Marked:
    """A model that answers its version, for every row."""

    def __init__(self, version: int) -> None:
        self.version = version

    def run(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.full((len(matrix), 1), self.version, dtype=np.float32)


def test_a_swap_under_load_drops_no_call_and_mixes_no_two_versions() -> None:
    models = {
        version: serving(*map(Marked, range(1, version + 1)), champion=version) for version in (1, 2, 3, 4)
    }
    stop = threading.Event()

    def ask(worker: int) -> Counter[int]:
        found = Counter[int]()
        channel = grpc.insecure_channel(up.address)
        infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        while not stop.is_set():
            message = response(infer(packed(ROW, ROW, id=f"w{worker}"), timeout=20))
            version = int(message.model_version)
            assert scores_of(message) == [[version], [version]]
            found[version] += 1
        channel.close()
        return found

    with running({"trips": models[1]}) as up, ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask, worker) for worker in range(3)]
        try:
            for turn in range(40):
                version = turn % 4 + 1
                answered = len(up.heard.calls)
                up.directory = {"trips": models[version]}
                until(lambda answered=answered: len(up.heard.calls) > answered + 5)  # type: ignore[misc]  # a default, to bind it
        finally:
            stop.set()
        total = sum((future.result(30) for future in asking), Counter[int]())
    assert set(total) == {1, 2, 3, 4}
    assert {code for _, code, _ in up.heard.calls} == {"OK"}
