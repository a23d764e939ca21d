"""`predict` against a server that answers as inference does."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped] # it ships no types
import pytest

from penstock.cli import main, predict, reach
from penstock.cli.exits import Exit, Failure
from penstock.cli.process import Process
from penstock.cli.state import State, write_state
from penstock.contracts import oip_pb2
from penstock.inference.domain import Serving
from penstock.inference.metadata import model_config
from penstock.kernel.pipeline import Pipeline
from tests.registry.given import route

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


PIPELINE = Pipeline.read(
    {
        "pipeline": "churn",
        "task": "binary",
        "events": {"topic": "crm.events", "id": "event_id", "time": "at"},
        "labels": {"topic": "crm.ends", "id": "event_id", "time": "at", "value": "left", "horizon": "30d"},
        "features": {
            "age": "number",
            "plan": {"category": ["1", "2", "3"]},
            "trial": "boolean",
            "weekday": {"weekday": "at"},
            "since": {"month": "joined"},
        },
    }
)
SERVING = {"churn": Serving(pipeline=PIPELINE, route=route(), models={})}


class Server:
    """Answers every row with its place, or refuses as it is told."""

    def __init__(self) -> None:
        self.requests: list[oip_pb2.ModelInferRequest] = []
        self.shown: list[str] = []
        self.refuses: tuple[grpc.StatusCode, str] | None = None
        self._server = grpc.server(ThreadPoolExecutor(max_workers=1))
        service = grpc.method_handlers_generic_handler(
            "inference.GRPCInferenceService",
            {
                "ModelInfer": grpc.unary_unary_rpc_method_handler(
                    self._infer,
                    request_deserializer=oip_pb2.ModelInferRequest.FromString,
                    response_serializer=oip_pb2.ModelInferResponse.SerializeToString,
                ),
                "ModelConfig": grpc.unary_unary_rpc_method_handler(
                    lambda body, _: model_config(SERVING, True, body)
                ),
            },
        )
        self._server.add_generic_rpc_handlers((service,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait()

    def _infer(self, request: oip_pb2.ModelInferRequest, context: Any) -> oip_pb2.ModelInferResponse:
        self.requests.append(request)
        self.shown += [value for key, value in context.invocation_metadata() if key == "authorization"]
        if self.refuses:
            context.abort(*self.refuses)
        rows = request.inputs[0].shape[0]
        response = oip_pb2.ModelInferResponse(model_name=request.model_name, model_version="3")
        response.parameters["route_epoch"].int64_param = 9
        scores = response.outputs.add(name="scores", datatype="FP32", shape=[rows, 1])
        scores.contents.fp32_contents.extend(row / 4 for row in range(rows))
        versions = response.outputs.add(name="model_version", datatype="INT64", shape=[rows])
        versions.contents.int64_contents.extend([3] * rows)
        roles = response.outputs.add(name="role", datatype="BYTES", shape=[rows])
        roles.contents.bytes_contents.extend([b"champion"] * rows)
        ids = response.outputs.add(name="id", datatype="BYTES", shape=[rows])
        ids.contents.bytes_contents.extend(f"id-{row}".encode() for row in range(rows))
        if request.parameters["explain"].bool_param:
            why = response.outputs.add(name="attributions", datatype="FP32", shape=[rows, 1, 4])
            why.parameters["features"].string_param = "age,plan,weekday"
            why.parameters["scale"].string_param = "log-odds"
            why.contents.fp32_contents.extend([0.5, -0.75, 0.0, -1.0] * rows)
        return response


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def sent(request: oip_pb2.ModelInferRequest) -> dict[str, list[Any]]:
    return {
        tensor.name: list(getattr(tensor.contents, field))
        for tensor in request.inputs
        for field in ("bytes_contents", "fp64_contents", "bool_contents", "int64_contents")
        if getattr(tensor.contents, field)
    }


def test_pairs_are_one_row_with_its_id_and_time(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["churn", "age=041", "plan=3", "trial=true", "since=", "--id", "mine", "--event-time"]
    code = main(["predict", *words, "2013-01-01T05:00:00Z", "--address", server.address, "-o", "json"])
    assert code == Exit.OK
    [request] = server.requests
    assert sent(request) == {"age": [41.0], "plan": [b"3"], "trial": [True]}
    assert request.id == "mine"
    assert request.parameters["event_time"].int64_param == 1357016400000
    assert json.loads(capsys.readouterr().out) == [
        {"id": "id-0", "scores": [0.0], "version": 3, "role": "champion", "epoch": 9}
    ]


def test_a_row_is_explained_feature_by_feature(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", "churn", "age=41", "plan=3", "--explain", "--address", server.address]
    assert main(words) == Exit.OK
    assert capsys.readouterr().out == (
        "id    scores  version  role      epoch\n"
        "id-0  [0.0]         3  champion      9\n"
        "\n"
        "id-0: what each feature added (log-odds of a positive label)\n"
        "feature  value  contribution\n"
        "plan     3             -0.75\n"
        "age      41              0.5\n"
        "weekday  –                 0\n"
        "(base)   –                -1\n"
        "sum      –             -1.25\n"
    )
    assert main([*words, "-o", "json"]) == Exit.OK
    [line] = json.loads(capsys.readouterr().out)
    assert line["explanations"] == [
        {"scale": "log-odds", "base": -1.0, "attributions": {"age": 0.5, "plan": -0.75, "weekday": 0.0}}
    ]


def test_every_record_of_a_file_is_explained(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("age,plan\n41,3\n29,2\n")
    words = ["--file", str(file), "--explain", "--address", server.address]
    assert main(["predict", "churn", *words]) == Exit.OK
    told = capsys.readouterr().out
    assert told.count("what each feature added") == 2
    assert "age      29 " in told.partition("id-1: ")[2]


def test_pairs_may_name_the_events_own_id_and_time(server: Server) -> None:
    words = ["event_id=007", "at=1357016400000", "age=41", "joined=2012-05-01T00:00:00Z"]
    assert main(["predict", "churn", *words, "--address", server.address]) == Exit.OK
    [request] = server.requests
    assert sent(request) == {"age": [41.0], "joined": [b"2012-05-01T00:00:00Z"]}
    assert request.id == "007"
    assert request.parameters["event_time"].int64_param == 1357016400000


def test_what_no_feature_is_called_goes_to_the_server_which_knows_what_was_meant(server: Server) -> None:
    assert main(["predict", "churn", "aeg=41", "--address", server.address]) == Exit.OK
    assert sent(server.requests[0]) == {"aeg": [41.0]}


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("age=old", "feature 'age' is 'old', expected a number\n"),
        ("age=1_000", "feature 'age' is '1_000', expected a number\n"),
        ("trial=maybe", "feature 'trial' is 'maybe', expected true or false\n"),
        ("at=noon", "at is 'noon', expected a time: ISO-8601 text or milliseconds since 1970\n"),
    ],
)
def test_a_value_that_cannot_be_one_is_named(
    pair: str, message: str, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "churn", pair, "--address", server.address]) == Exit.INVALID
    assert capsys.readouterr().err == message
    assert not server.requests


def test_the_events_own_file_is_asked_for_under_its_ids_and_times(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    events = [
        {"event_id": "c-1", "at": "2013-01-01T05:00:00Z", "age": 41, "plan": "3", "trial": True, "x": [1]},
        {"event_id": 7, "at": 1357016400001, "age": None, "plan": "2", "trial": False, "joined": None},
    ]
    file.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    assert main(["predict", "churn", "--file", str(file), "--address", server.address]) == Exit.OK
    [request] = server.requests
    found = sent(request)
    assert math.isnan(found["age"].pop())
    assert found == {
        "age": [41.0],
        "plan": [b"3", b"2"],
        "trial": [True, False],
        "id": [b"c-1", b"7"],
        "event_time": [1357016400000, 1357016400001],
    }


def test_an_event_without_an_id_among_others_gets_one(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text("event_id,at,age\n007,1357016400000,41\n,,29\n")
    assert main(["predict", "churn", "--file", str(file), "--address", server.address]) == Exit.OK
    found = sent(server.requests[0])
    assert found["id"][0] == b"007"
    assert found["id"][1]
    assert found["event_time"][0] == 1357016400000 < found["event_time"][1]


def test_a_number_in_a_file_is_no_category(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text('{"plan": "3"}\n{"plan": 3}\n')
    assert main(["predict", "churn", "--file", str(file), "--address", server.address]) == Exit.INVALID
    assert capsys.readouterr().err == f"{file}: record 2: feature 'plan' is 3, expected text\n"
    assert not server.requests


def test_every_record_of_a_file_is_asked_for_in_batches(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("age,plan\n" + "41,3\n" * (predict.ROWS + 1))
    code = main(["predict", "churn", "--file", str(file), "--address", server.address, "-o", "json"])
    assert code == Exit.OK
    assert len(json.loads(capsys.readouterr().out)) == predict.ROWS + 1
    assert [request.inputs[0].shape[0] for request in server.requests] == [predict.ROWS, 1]
    assert sent(server.requests[1]) == {"age": [41.0], "plan": [b"3"]}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, Exit.INVALID),
        (grpc.StatusCode.NOT_FOUND, Exit.NOT_FOUND),
        (grpc.StatusCode.UNAVAILABLE, Exit.UNREACHABLE),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Exit.TIMEOUT),
        (grpc.StatusCode.INTERNAL, Exit.FAILED),
        (grpc.StatusCode.FAILED_PRECONDITION, Exit.FAILED),
        (grpc.StatusCode.UNAUTHENTICATED, Exit.REFUSED),
        (grpc.StatusCode.PERMISSION_DENIED, Exit.REFUSED),
    ],
)
def test_every_status_is_an_exit_code_and_one_line(
    status: grpc.StatusCode, code: Exit, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.refuses = status, "this is why"
    assert main(["predict", "churn", "age=1", "--address", server.address]) == code
    assert capsys.readouterr().err == f"{server.address}: this is why\n"


def test_a_row_that_cannot_be_sent_is_invalid(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "churn", "age=", "--address", server.address]) == Exit.INVALID
    assert "give at least one feature" in capsys.readouterr().err
    assert not server.requests


def test_wrong_usage_says_what_was_expected(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "churn"]) == Exit.USAGE
    assert main(["predict", "churn", "--file", "x.csv", "--id", "mine"]) == Exit.USAGE
    assert "--id and --event-time are of one row" in capsys.readouterr().err
    assert main(["predict", "churn", "age"]) == Exit.USAGE
    assert "'age' is no feature, expected NAME=VALUE" in capsys.readouterr().err
    with pytest.raises(Failure):
        predict.pair("=1")


def test_inference_is_where_it_was_said_else_the_environment_else_where_up_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert reach.grpc_address(None, environment={}) == reach.DEFAULT
    folder = tmp_path / ".penstock"
    folder.mkdir()
    write_state(folder, State(supervisor=Process(pid=1), bootstrap="", grpc="127.0.0.1:7", processes={}))
    assert reach.grpc_address(None, environment={}) == "127.0.0.1:7"
    assert reach.grpc_address(None, environment={"PENSTOCK_GRPC": "a:1"}) == "a:1"
    assert reach.grpc_address("b:2", environment={"PENSTOCK_GRPC": "a:1"}) == "b:2"


def test_a_token_comes_from_the_environment_and_not_in_the_clear(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(reach.TOKEN, "a-token-of-some-length")
    assert main(["predict", "churn", "age=41", "--address", server.address]) == Exit.OK
    assert server.shown == ["Bearer a-token-of-some-length"]
    assert main(["predict", "churn", "age=41", "--address", "inference.example:8001"]) == Exit.USAGE
    assert capsys.readouterr().err == (
        "PENSTOCK_GRPC_TOKEN is not sent to inference.example:8001 in the clear: give --tls or --ca\n"
    )


def test_files_of_certificates_that_are_not_there_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "churn", "age=41", "--ca", "nowhere.pem"]) == Exit.USAGE
    assert capsys.readouterr().err == "nowhere.pem: No such file or directory\n"
    assert main(["predict", "churn", "age=41", "--certificate", "own.pem"]) == Exit.USAGE
    assert "a client's certificate and its key are given together" in capsys.readouterr().err
