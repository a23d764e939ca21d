"""A version named in a call's metadata answers it, for clients that cannot set the request's own field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from penstock.contracts import oip_pb2
from penstock.inference.oip import PIN
from penstock.inference.servicer import SERVICE
from tests.inference.asking import Adds, packed, response, scores_of, serving
from tests.inference.running import ROW, Running, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    models = serving(Adds(), Adds(1000), Adds(2000), shadows=(2,), split=3, split_share=0.5, split_salt="s")
    with running({"trips": models}) as up:
        yield up


@pytest.mark.parametrize(("version", "role"), [("1", "champion"), ("2", "shadow"), ("3", "split")])
def test_it_answers_whatever_the_route_says(server: Running, version: str, role: str) -> None:
    message = response(server.ask("ModelInfer", packed(ROW), metadata=((PIN, version),)))
    assert (message.model_version, message.parameters["role"].string_param) == (version, role)
    assert message.parameters["route_epoch"].int64_param == 7
    assert scores_of(message) == [[27.5 + 1000 * (int(version) - 1)]]


def test_the_field_and_the_metadata_may_say_the_same(server: Running) -> None:
    body = packed(ROW, model_version="2")
    assert response(server.ask("ModelInfer", body, metadata=((PIN, "2"),))).model_version == "2"


@pytest.mark.parametrize(
    ("pin", "field", "code", "text"),
    [
        ("latest", "", "INVALID_ARGUMENT", "metadata 'penstock-version' is 'latest', expected the number of"),
        (
            "-1",
            "",
            "INVALID_ARGUMENT",
            "metadata 'penstock-version' is '-1', expected the number of a version",
        ),
        ("2", "1", "INVALID_ARGUMENT", "metadata 'penstock-version' is '2', model_version is '1'"),
        ("7", "", "NOT_FOUND", "pipeline 'trips' has no version '7' here, only 1, 2, 3"),
    ],
)
def test_what_cannot_be_pinned_is_named(server: Running, pin: str, field: str, code: str, text: str) -> None:
    error = server.refused(packed(ROW, model_version=field), metadata=((PIN, pin),))
    assert error.code().name == code
    assert text in error.details()


def test_it_holds_for_a_whole_stream(server: Running) -> None:
    stream = server.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
    bodies = [packed(ROW, id="a"), packed(ROW, id="b", model_version="1"), packed(ROW, id="c")]
    said = [
        oip_pb2.ModelStreamInferResponse.FromString(each)
        for each in stream(iter(bodies), metadata=((PIN, "2"),), timeout=20)
    ]
    assert [each.infer_response.model_version for each in said] == ["2", "", "2"]
    assert said[1].error_message.startswith("INVALID_ARGUMENT: metadata 'penstock-version' is '2'")
