"""Asking by topic: a reply to each request, in its own form, and a prediction in the same transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]  # no types there
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contracts import oip_pb2
from penstock.contracts.records import DeadLetter, Origin, Role, Score
from penstock.inference import requests as asking
from penstock.inference.restform import request_of
from penstock.runtime.broker import Aborted, Message
from penstock.runtime.deadletter import HEADER
from tests.inference.asking import NAMES, NOON, packed, response, scores_of
from tests.inference.world import DEAD, NAMES_OF, World, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock.runtime.broker import Record

REQUESTS = NAMES_OF.of("requests", "trips")
REPLIES = NAMES_OF.of("replies", "trips")
ROW = [1.0, 2.0, 0.0, 3.0, 4.0]
BODY: dict[str, Any] = {
    "id": "a",
    "inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 5], "data": [ROW]}],
}
JSON = {"content-type": b"application/json"}


@pytest.fixture
def world() -> World:
    return served()


def served() -> World:
    found = World()
    found.model(1, 0.75)
    found.route(epoch=7, champion=1)
    return found


def ask(
    world: World, value: bytes | None, headers: Mapping[str, bytes] | None = None, *, partition: int = 0
) -> None:
    world.now = NOON
    world.broker.append(Message(REQUESTS, value, b"key", tuple((headers or {}).items()), partition))


def replies(world: World) -> list[Record]:
    return list(world.broker.records(REPLIES))


def answered(world: World) -> tuple[Record, dict[str, str]]:
    run(world.replica())
    [reply] = replies(world)
    return reply, {name: value.decode() for name, value in reply.headers}


def test_protobuf_is_answered_as_over_grpc_and_logged(world: World) -> None:
    ask(world, packed(ROW, id="a"), {"correlation-id": b"\xff-17"}, partition=2)
    run(world.replica())
    [reply] = replies(world)
    assert (reply.key, reply.partition) == (b"key", 2)
    assert dict(reply.headers) == {
        "correlation-id": b"\xff-17",
        "status": b"OK",
        "content-type": b"application/x-protobuf",
    }
    message = response(reply.value)
    assert (message.id, message.model_name, message.model_version) == ("a", "trips", "1")
    assert message.parameters["route_epoch"].int64_param == 7
    assert scores_of(message) == [[0.75]]
    [prediction] = world.predictions()
    assert (prediction.id, prediction.origin, prediction.time) == ("a", Origin.GRPC, NOON)
    assert (prediction.version, prediction.role, prediction.epoch) == (1, Role.CHAMPION, 7)
    assert prediction.scores == (Score(version=1, values=(0.75,)),)


def test_json_is_answered_in_json(world: World) -> None:
    body = BODY | {"parameters": {"screen": "checkout", "event_time": 1000}}
    ask(world, orjson.dumps(body), {"Content-Type": b"application/json; charset=utf-8"})
    reply, headers = answered(world)
    assert headers == {"correlation-id": "a", "status": "OK", "content-type": "application/json"}
    assert orjson.loads(reply.value or b"") == {
        "model_name": "trips",
        "model_version": "1",
        "id": "a",
        "parameters": {"model_version": 1, "role": "champion", "route_epoch": 7},
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [1, 1], "data": [0.75]}],
    }
    [prediction] = world.predictions()
    assert (prediction.time, prediction.parameters) == (1000, {"screen": "checkout"})


def test_json_asks_by_name_for_many_rows_with_values_missing(world: World) -> None:
    body = {
        "id": "trip",
        "inputs": [
            {"name": "distance", "datatype": "FP64", "shape": [2], "data": [3.5, None]},
            {"name": "line", "datatype": "BYTES", "shape": [2, 1], "data": [["red"], [None]]},
            {"name": "rush", "datatype": "BOOL", "shape": [2], "data": [True, False]},
        ],
        "outputs": [{"name": "scores"}, {"name": "id"}],
    }
    ask(world, orjson.dumps(body), JSON)
    reply, headers = answered(world)
    assert headers["status"] == "OK", reply.value
    scores, ids = orjson.loads(reply.value or b"")["outputs"]
    assert (scores["data"], ids["data"]) == ([0.75, 0.75], ["trip/0", "trip/1"])
    catalog = world.replica().task.codec
    matrix = []
    for record in world.broker.records(NAMES_OF.of("predictions", "trips")):
        rows = catalog.decode(record.value or b"").rows
        assert rows is not None
        matrix.append(rows.matrix([record.value or b""])[0])
    noon = 12.0
    expected = [[3.5, 1, 1, noon, np.nan], [np.nan, np.nan, 0, noon, np.nan]]
    assert np.array_equal(sorted(map(list, matrix), key=lambda row: -row[2]), expected, equal_nan=True)


def test_without_an_id_it_is_where_the_request_stands(world: World) -> None:
    ask(world, packed(ROW), partition=1)
    reply, headers = answered(world)
    assert response(reply.value).id == headers["correlation-id"] == f"{REQUESTS}/1/0"
    assert [prediction.id for prediction in world.predictions()] == [f"{REQUESTS}/1/0"]


def test_without_a_model_name_the_topic_says_which(world: World) -> None:
    ask(world, packed(ROW, id="a", model_name=""))
    reply, headers = answered(world)
    assert headers["status"] == "OK", reply.value
    assert response(reply.value).model_name == "trips"


def test_a_version_may_be_pinned_by_header(world: World) -> None:
    world.model(2, 0.25)
    world.route(epoch=8, champion=1, shadows=(2,))
    ask(world, packed(ROW, id="a"), {"penstock-version": b"2"})
    reply, _ = answered(world)
    assert response(reply.value).model_version == "2"


FAULTS: list[tuple[str, bytes | None, dict[str, bytes], str, str]] = [
    ("no protobuf", b"\xff\xff junk", {}, "INVALID_ARGUMENT", "not a ModelInferRequest"),
    ("no value", None, {"correlation-id": b"7"}, "INVALID_ARGUMENT", "no value"),
    ("too narrow", packed([1.0], id="a"), {}, "INVALID_ARGUMENT", "shape"),
    ("another pipeline", packed(ROW, id="a", model_name="tips"), {}, "NOT_FOUND", "did you mean 'trips'"),
    ("no such version", packed(ROW, id="a", model_version="9"), {}, "NOT_FOUND", "no version '9'"),
    (
        "another topic",
        packed(ROW),
        {"reply-topic": b"payroll"},
        "INVALID_ARGUMENT",
        f"replies go to {REPLIES}",
    ),
    ("no such form", packed(ROW), {"content-type": b"text/csv"}, "INVALID_ARGUMENT", "expected application/"),
    ("no JSON", b"{", JSON, "INVALID_ARGUMENT", "not JSON"),
    ("a list", b"[1]", JSON, "INVALID_ARGUMENT", "expected a JSON object"),
    ("no inputs", b"{}", JSON, "INVALID_ARGUMENT", "no input tensors"),
]


@pytest.mark.parametrize(
    ("value", "headers", "code", "says"), [each[1:] for each in FAULTS], ids=[each[0] for each in FAULTS]
)
def test_what_is_wrong_is_a_reply_and_no_dead_letter(
    world: World, value: bytes | None, headers: dict[str, bytes], code: str, says: str
) -> None:
    ask(world, value, headers)
    ask(world, packed(ROW, id="next"))
    run(world.replica())
    reply, other = sorted(replies(world), key=lambda record: record.offset)
    told = dict(reply.headers)
    assert told["status"] == code.encode()
    if headers == JSON:
        assert says in orjson.loads(reply.value or b"")["error"]["message"]
    else:
        status = status_pb2.Status.FromString(reply.value)
        assert status.code == code_pb2.Code.Value(code)
        assert says in status.message
    assert told["correlation-id"]
    assert dict(other.headers)["status"] == b"OK"
    assert [prediction.id for prediction in world.predictions()] == ["next"]
    assert not world.broker.records(DEAD)


def test_details_name_what_to_mend(world: World) -> None:
    ask(world, packed([1.0], id="a"))
    reply, headers = answered(world)
    [detail] = status_pb2.Status.FromString(reply.value).details
    bad = error_details_pb2.BadRequest()
    assert detail.Unpack(bad)
    assert [each.field for each in bad.field_violations] == ["features"]
    assert headers["correlation-id"] == "a"


WRONG = [
    ({"id": 7}, "id"),
    ({"parameters": []}, "parameters"),
    ({"parameters": {"x": [1]}}, "parameters.x"),
    ({"parameters": {"x": 2**63}}, "parameters.x"),
    ({"inputs": {}}, "inputs"),
    ({"inputs": [7]}, "inputs[0]"),
    ({"inputs": [{"name": 7}]}, "inputs[0].name"),
    ({"outputs": [{}]}, "outputs[0].name"),
]
TENSORS = [
    ({"shape": [1.5, 5]}, "shape"),
    ({"datatype": "FP31"}, "expected one of"),
    ({"data": "x"}, "expected a list"),
    ({"data": [1, True, 1, 1, 1]}, "has true at place 1, expected a number"),
    ({"datatype": "INT8", "data": [1, 2**40, 1, 1, 1]}, "no INT8"),
    ({"datatype": "BOOL", "data": [1, 0, 1, 1, 1]}, "expected true or false"),
    ({"data": [[1, [2]], 1]}, "expected a number"),
]


@pytest.mark.parametrize(("changes", "field"), WRONG)
def test_json_says_which_field_is_wrong(world: World, changes: dict[str, Any], field: str) -> None:
    ask(world, orjson.dumps(BODY | changes), JSON)
    reply, headers = answered(world)
    assert headers["status"] == "INVALID_ARGUMENT"
    assert orjson.loads(reply.value or b"")["error"]["violations"][0]["field"] == field


@pytest.mark.parametrize(("changes", "says"), TENSORS)
def test_json_says_which_tensor_is_wrong(world: World, changes: dict[str, Any], says: str) -> None:
    ask(world, orjson.dumps(BODY | {"inputs": [BODY["inputs"][0] | changes]}), JSON)
    reply, _ = answered(world)
    [violation] = orjson.loads(reply.value or b"")["error"]["violations"]
    assert violation["field"] == "features"
    assert says in violation["description"]


def test_nothing_to_reply_to_is_a_dead_letter(world: World) -> None:
    ask(world, None)
    run(world.replica())
    assert not replies(world)
    [record] = world.broker.records(DEAD)
    letter = world.codec.decode(dict(record.headers)[HEADER]).value
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "empty"


def test_a_reply_too_large_for_the_topic_is_said_and_not_predicted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "LARGEST", 20)
    ask(world, packed(ROW, id="a"))
    reply, headers = answered(world)
    assert headers["status"] == "RESOURCE_EXHAUSTED"
    assert "fewer rows" in status_pb2.Status.FromString(reply.value).message
    assert world.predictions() == []


def test_requests_wait_for_a_first_version() -> None:
    world = World()
    ask(world, packed(ROW, id="a"))
    loop = world.replica()
    run(loop)
    assert replies(world) == []
    world.model(0, 0.5)
    world.route(epoch=1, champion=0)
    run(loop)
    assert [response(reply.value).model_version for reply in replies(world)] == ["0"]


def test_an_aborted_batch_is_answered_again_alike_and_seen_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = world.replica()
    run(loop)
    ask(world, packed(ROW))
    original = world.broker.finish
    failures = iter([True, False])
    sent: list[bytes] = []

    def finish(transaction: Any, state: str) -> None:
        if state == "committed" and next(failures, False):
            raise Aborted("the coordinator said no")
        original(transaction, state)

    one = asking.Requests._one

    def noted(self: Any, *arguments: Any) -> Any:
        reply, served = one(self, *arguments)
        sent.append(reply.value or b"")
        return reply, served

    monkeypatch.setattr(asking.Requests, "_one", noted)
    monkeypatch.setattr(world.broker, "finish", finish)
    for _ in range(10):
        loop.step()
    assert len(sent) == 2
    assert sent[0] == sent[1]
    assert len(replies(world)) == len(world.predictions()) == 1


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.binary(max_size=40), min_size=1, max_size=8), json=st.booleans())
def test_any_bytes_get_a_reply(values: list[bytes], *, json: bool) -> None:
    world = served()
    for value in values:
        ask(world, value, JSON if json else {})
    run(world.replica())
    assert len(replies(world)) == len(values)
    assert not world.broker.records(DEAD)


def test_json_and_protobuf_say_the_same() -> None:
    message = oip_pb2.ModelInferRequest.FromString(request_of(orjson.dumps(BODY)))
    tensor = message.inputs[0]
    assert (message.id, tensor.name, tensor.datatype, list(tensor.shape)) == ("a", "features", "FP32", [1, 5])
    assert list(tensor.contents.fp32_contents) == ROW
    assert len(NAMES) == len(ROW)
