"""What is read by its bytes alone is what protobuf reads: the same request, or the same fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.contracts import oip_pb2
from penstock.inference import forms, oip
from penstock.inference.domain import Directory
from penstock.inference.faults import Fault
from penstock.inference.forms import Forms
from tests.inference.asking import CHANCE, NAMES, PIPELINE, packed, request, serving

ROW = [12.5, 2.0, 1.0, 12.0, float("nan")]
DIRECTORY: Directory = {"trips": serving()}


def known_to(memory: Forms, body: bytes) -> bool:
    return memory.recognised(body) is not None


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Forms:
    """What the calls of this test leave behind."""
    memory = Forms()
    monkeypatch.setattr(oip, "_FORMS", memory)
    return memory


def outcome(body: bytes, *, by_protobuf: bool) -> Any:
    """Everything a request is read as, or what is wrong with it, in a form that can be compared."""
    try:
        asked = (oip._read if by_protobuf else oip.read)(DIRECTORY, body, CHANCE, "")
    except Fault as fault:
        return fault.code, fault.message, fault.violations
    matrix = asked.vectors.matrix
    values = (matrix.dtype.str, matrix.shape, matrix.tobytes(), asked.vectors.cleared)
    return asked._replace(vectors=None), values  # type: ignore[arg-type]  # it is compared beside


def test_the_second_of_its_kind_is_recognised(memory: Forms) -> None:
    first, second = packed(ROW, id="a"), packed([1.0, 1.0, 0.0, 3.0, 4.0], id="another")
    assert not known_to(memory, first)
    oip.read(DIRECTORY, first, CHANCE)
    assert known_to(memory, second)
    asked = oip.read(DIRECTORY, second, CHANCE)
    assert asked.ids == ("another",)
    assert asked.vectors.matrix.tolist() == [[1.0, 1.0, 0.0, 3.0, 4.0]]
    assert asked == oip._read(DIRECTORY, second, CHANCE, "")._replace(vectors=asked.vectors)


def test_numbers_stand_where_onnxruntime_may_take_them_from(memory: Forms) -> None:
    for length in range(8):
        oip.read(DIRECTORY, packed(ROW, id="i" * length), CHANCE)
        known = memory.recognised(packed(ROW, id="i" * length))
        assert known is not None
        assert known.values.flags.aligned
        assert known.values.flags.c_contiguous


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"id": "x"},
        {"id": "x" * 127},
        {"id": "x" * 128},
        {"id": "x" * 256},
        {"id": "ü" * 100},
        {"model_version": "1"},
        {"model_version": "7"},
        {"model_version": "1" * 200},
        {"model_name": "trip"},
        {"model_name": "t" * 200},
        {"outputs": ["scores"]},
        {"outputs": ["id", "role"]},
        {"outputs": ["nothing"]},
        {"parameters": {"event_time": 1_370_056_200_000}},
        {"parameters": {"event_time": "2013-06-01T03:10:00Z"}},
        {"parameters": {"event_time": "soon"}},
        {"raw": False},
    ],
)
@pytest.mark.usefixtures("memory")
def test_each_field_is_read_alike_the_first_time_and_again(changes: dict[str, Any]) -> None:
    oip.read(DIRECTORY, packed(ROW, id="before"), CHANCE)
    body = packed(ROW, **changes)
    for _ in range(2):
        assert outcome(body, by_protobuf=False) == outcome(body, by_protobuf=True)


def test_only_what_protobuf_would_have_written_so_is_remembered(memory: Forms) -> None:
    good = packed(ROW, id="a")
    values = np.array(ROW, dtype="<f4").tobytes()
    twice = b"\x0a\x05other" + good  # the name given last counts
    unknown = good + b"\xa2\x06" + bytes([len(values)]) + values  # a field nobody knows, behind the values
    moved = good[7:] + good[:7]  # the name behind everything else
    empty = good.replace(b"\x1a\x01a", b"\x1a\x00")  # no id, and a field that says so
    for body in (twice, unknown, moved, empty):
        assert oip.read(DIRECTORY, body, CHANCE).serving.pipeline is PIPELINE
        assert not known_to(memory, body)
    oip.read(DIRECTORY, good, CHANCE)
    assert known_to(memory, empty)
    assert not any(known_to(memory, body) for body in (twice, unknown, moved))


def test_an_id_that_is_no_text_is_left_to_protobuf(memory: Forms) -> None:
    good = packed(ROW, id="abc")
    oip.read(DIRECTORY, good, CHANCE)
    for bad in (b"\xff\xfe\xfd", b"\xed\xa0\x80"):
        assert not known_to(memory, good.replace(b"abc", bad))
        with pytest.raises(Fault, match="is not a ModelInferRequest"):
            oip.read(DIRECTORY, good.replace(b"abc", bad), CHANCE)


def test_no_more_is_remembered_than_was_said(memory: Forms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "MOST", 3)
    for rows in range(1, 9):
        oip.read(DIRECTORY, packed(*[ROW] * rows), CHANCE)
    assert 1 <= len(memory._forms) <= 3


@pytest.mark.usefixtures("memory")
def test_a_feature_called_as_the_packed_tensor_is_no_packed_tensor() -> None:
    oip.read(DIRECTORY, packed(ROW, id="a"), CHANCE)
    raw = PIPELINE.raw() | {"features": {"features": "number"}}
    odd = serving()
    object.__setattr__(odd, "layout", odd.layout.of(type(PIPELINE).read(raw)))
    body = request({"features": ("FP32", [1, 1], [7.0])})
    for _ in range(2):
        assert oip.read({"trips": odd}, body, CHANCE).vectors.matrix.tolist() == [[7.0]]


GOOD = [
    packed(ROW, id="trip-1"),
    packed(ROW),
    packed(ROW, ROW, id="two"),
    packed(ROW, id="pinned", model_version="1"),
    packed(ROW, id="timed", parameters={"event_time": 1_370_056_200_000}),
    packed(ROW, id="asked", outputs=["scores", "id"]),
    request({"features": ("FP64", [1, len(NAMES)], ROW)}, id="wide"),
]


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A good request with a few bytes replaced, cut out, put in or repeated."""
    body = draw(st.sampled_from(GOOD))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(0, len(body) - 1)))
        to = draw(st.integers(at, min(len(body), at + 24)))
        body = draw(
            st.sampled_from([body[:at] + body[to:], body[:to] + body[at:to] + body[to:], body])
            | st.binary(min_size=1, max_size=4).map(lambda new: body[:at] + new + body[at:])  # noqa: B023 - drawn at once
            | st.binary(min_size=1, max_size=4).map(lambda new: body[:at] + new + body[at + len(new) :])  # noqa: B023 - as above
        )
    return body


MEMORY = Forms()


@settings(max_examples=600, deadline=None)
@given(body=spoilt())
@example(body=packed(ROW, id="x" * 127))
@example(body=GOOD[0].replace(b"\x1a\x06trip-1", b"\x1a\x86\x00trip-1"))
@example(body=GOOD[0].replace(b"\x1a\x06trip-1", b"\x1a\x06trip-1\x1a\x06trip-2"))
def test_whatever_comes_is_read_as_by_protobuf(body: bytes) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(oip, "_FORMS", MEMORY)  # one for all: what one leaves behind is met by the others
        for good in GOOD:
            oip.read(DIRECTORY, good, CHANCE)
        assert outcome(body, by_protobuf=False) == outcome(body, by_protobuf=True)
        assert outcome(body, by_protobuf=False) == outcome(body, by_protobuf=True)


def test_the_good_ones_are_all_recognised(memory: Forms) -> None:
    for good in GOOD:
        oip.read(DIRECTORY, good, CHANCE)
        assert known_to(memory, good), oip_pb2.ModelInferRequest.FromString(good)
