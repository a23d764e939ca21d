"""What goes with a call: streams of requests, deadlines, and the names that callers give."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import grpc  # type: ignore[import-untyped]  # it ships no types
import pytest

from penstock.contracts import oip_pb2 as oip
from penstock.inference.domain import Directory, Waiting
from penstock.inference.servicer import SERVICE
from tests.inference.asking import NOON, Adds, packed, scores_of, serving
from tests.inference.running import ROW, Running, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running({"trips": serving(), "new": Waiting(reason="version 0 is not there yet")}) as up:
        yield up


@pytest.mark.parametrize("name", ["ModelInfer", "ModelStreamInfer"])
@pytest.mark.parametrize("on", [True, False])
def test_what_is_logged_names_the_call_it_was_for(
    server: Running, name: str, on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.heard, "on", on)
    caller = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    metadata = (("x-request-id", "r-8"), ("traceparent", caller))
    id_ = f"named-{name}-{on}"
    if name == "ModelInfer":
        server.ask(name, packed(ROW, id=id_), metadata=metadata)
    else:
        stream = server.channel.stream_stream(f"/{SERVICE}/{name}")
        assert list(stream(iter([packed(ROW, id=id_)]), metadata=metadata, timeout=20))
    until(lambda: [served for served, _ in server.logged if served.asked.ids == (id_,)])
    [headers] = [headers for served, headers in server.logged if served.asked.ids == (id_,)]
    spanned = on and name == "ModelInfer"
    parent = b"ours" if spanned else caller.encode()
    assert sorted(headers) == [("traceparent", parent), ("x-request-id", b"r-8")]


def test_a_stream_answers_in_order_and_goes_on_after_a_fault(server: Running) -> None:
    stream = server.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
    bodies = [packed(ROW, id="s0"), packed(ROW[:2]), packed(*[ROW] * 100, id="s2"), b"\xff"]
    found = [oip.ModelStreamInferResponse.FromString(body) for body in stream(iter(bodies), timeout=20)]
    assert [message.infer_response.id for message in found] == ["s0", "", "s2", ""]
    assert scores_of(found[2].infer_response) == [[27.5]] * 100
    assert [message.error_message for message in found] == [
        "",
        "INVALID_ARGUMENT: tensor 'features' has shape [1, 2], expected [1, 5]",
        "",
        "INVALID_ARGUMENT: the message is not a ModelInferRequest",
    ]
    until(lambda: {"s0", "s2"} <= {served.asked.id for served, _ in server.logged})
    until(lambda: ("ModelStreamInfer", "OK", None) in server.heard.calls)


def test_each_message_of_a_stream_is_a_request_of_its_own() -> None:
    directory: Directory = {
        "trips": serving(Adds(), Adds(1000), shadows=(2,)),
        "new": Waiting(reason="not there yet"),
    }
    bodies = [
        packed(ROW, id="a"),
        packed(ROW, id="b", model_version="2"),
        packed(ROW, id="c", model_version="7"),
        packed(ROW, id="d", model_name="new"),
        packed(ROW, id="e", parameters={"source": "kiosk", "event_time": NOON - 1}),
        packed(ROW),
        packed(ROW, id="f"),
    ]
    with running(directory) as up:
        stream = up.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
        found = [oip.ModelStreamInferResponse.FromString(body) for body in stream(iter(bodies), timeout=20)]
        until(lambda: len(up.logged) == 5)
    answers = [message.infer_response for message in found]
    assert [answer.id for answer in answers if len(answer.id) < 32] == ["a", "b", "", "", "e", "f"]
    assert len(answers[5].id) == 32
    assert [answer.model_version for answer in answers] == ["1", "2", "", "", "1", "1", "1"]
    assert [answer.parameters["role"].string_param for answer in answers[:2]] == ["champion", "shadow"]
    assert scores_of(answers[1]) == [[1027.5]]
    assert [message.error_message.partition(":")[0] for message in found] == [
        "",
        "",
        "NOT_FOUND",
        "UNAVAILABLE",
        "",
        "",
        "",
    ]
    logged = {served.asked.id: served.asked for served, _ in up.logged}
    assert list(logged) == ["a", "b", "e", answers[5].id, "f"]
    assert (dict(logged["e"].parameters), logged["e"].times) == ({"source": "kiosk"}, (NOON - 1,))


def test_a_stream_ends_at_its_deadline(server: Running) -> None:
    waiting = threading.Event()

    def bodies() -> Iterator[bytes]:
        yield packed(ROW, id="in-time")
        waiting.wait(20)

    stream = server.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(bodies(), timeout=1.0)
    assert oip.ModelStreamInferResponse.FromString(next(stream)).infer_response.id == "in-time"
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    waiting.set()
    assert caught.value.code().name == "DEADLINE_EXCEEDED"
    assert server.ask("ModelInfer", packed(ROW))
    until(lambda: not server.server.door.inside)
