"""ModelInfer on bytes: every form a request may take, and what each mistake is answered with."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.client.messages import request_of
from penstock.client.rows import table
from penstock.contracts import oip_pb2
from penstock.inference.domain import STARTING, Directory, Waiting
from penstock.inference.faults import Fault
from penstock.inference.oip import Chance, infer
from penstock.inference.tensors import MAX_ROWS
from penstock.kernel.features import vectorise
from tests.inference.asking import (
    CHANCE,
    NAMES,
    NOON,
    PIPELINE,
    TYPED,
    Adds,
    Breaks,
    Nans,
    packed,
    request,
    response,
    scores_of,
    serving,
)

NAN = float("nan")
ROW = [12.5, 2.0, 1.0, 12.0, NAN]  # distance, green, rush, noon, nothing planned
BY_NAME: dict[str, tuple[str, list[int], list[Any]]] = {
    "distance": ("FP32", [1], [12.5]),
    "line": ("BYTES", [1], [b"green"]),
    "rush": ("BOOL", [1], [True]),
}
DIRECTORY: Directory = {"trips": serving(), "new": Waiting(reason="version 0 is not there yet")}


def matrix_of(body: bytes, chance: Chance = CHANCE) -> list[list[float]]:
    _, served = infer(DIRECTORY, body, chance)
    rows: list[list[float]] = served.asked.vectors.matrix.tolist()
    return rows


def fault_of(body: bytes) -> Fault:
    with pytest.raises(Fault) as caught:
        infer(DIRECTORY, body, CHANCE)
    return caught.value


def outcome_of(body: bytes) -> oip_pb2.ModelInferResponse | Fault:
    """What any bytes are answered with; no other error may come out."""
    try:
        return response(infer(DIRECTORY, body, CHANCE)[0])
    except Fault as fault:
        return fault


def same(found: list[list[float]], expected: list[list[float]]) -> bool:
    return bool(np.array_equal(np.array(found), np.array(expected), equal_nan=True))


@pytest.mark.parametrize("raw", [True, False])
def test_packed_and_by_name_are_the_same_row(raw: bool) -> None:
    assert same(matrix_of(packed(ROW, raw=raw)), [ROW])
    assert same(matrix_of(request(BY_NAME, raw=raw)), [ROW])


@pytest.mark.parametrize("raw", [True, False])
def test_the_answer_comes_in_the_form_the_request_had(raw: bool) -> None:
    answer, _ = infer(DIRECTORY, packed(ROW, raw=raw), CHANCE)
    message = response(answer)
    assert scores_of(message) == [[27.5]]
    assert bool(message.raw_output_contents) is raw
    assert bool(message.outputs[0].contents.fp32_contents) is not raw


def test_the_answer_says_who_gave_it() -> None:
    message = response(infer(DIRECTORY, packed(ROW, id="trip-1"), CHANCE)[0])
    assert (message.model_name, message.model_version, message.id) == ("trips", "1", "trip-1")
    assert {name: value.WhichOneof("parameter_choice") for name, value in message.parameters.items()} == {
        "model_version": "int64_param",
        "role": "string_param",
        "route_epoch": "int64_param",
    }
    assert message.parameters["role"].string_param == "champion"
    assert message.parameters["route_epoch"].int64_param == 7


def test_a_request_without_id_gets_one() -> None:
    answer, served = infer(DIRECTORY, packed(ROW), CHANCE)
    assert response(answer).id == "made-up"
    assert served.asked.ids == ("made-up",)


def test_rows_of_a_batch_are_numbered() -> None:
    answer, served = infer(DIRECTORY, packed(ROW, ROW, id="b"), CHANCE)
    assert response(answer).id == "b"
    assert served.asked.ids == ("b/0", "b/1")


@pytest.mark.parametrize("raw", [True, False])
def test_rows_may_bring_their_ids_and_get_them_back(raw: bool) -> None:
    body = request(
        {
            "id": ("BYTES", [2], [b"x", b"y"]),
            "features": ("FP64", [2, 5], ROW * 2),
        },
        raw=raw,
        outputs=["id", "scores", "role", "model_version"],
    )
    answer, served = infer(DIRECTORY, body, CHANCE)
    assert served.asked.ids == ("x", "y")
    message = response(answer)
    assert [output.name for output in message.outputs] == ["id", "scores", "role", "model_version"]
    assert [list(output.shape) for output in message.outputs] == [[2], [2, 1], [2], [2]]
    if raw:
        assert message.raw_output_contents[0] == b"\x01\x00\x00\x00x\x01\x00\x00\x00y"
        assert message.raw_output_contents[3] == np.array([1, 1], dtype="<i8").tobytes()
    else:
        assert list(message.outputs[0].contents.bytes_contents) == [b"x", b"y"]
        assert list(message.outputs[2].contents.bytes_contents) == [b"champion"] * 2


def test_rows_of_different_versions_say_so_each() -> None:
    directory = {"trips": serving(Adds(), Adds(1000), canary=2, share=0.5)}
    ids = [f"trip-{row}".encode() for row in range(20)]
    body = request({"id": ("BYTES", [20], ids), "distance": ("FP32", [20], [0.0] * 20)})
    message = response(infer(directory, body, CHANCE)[0])
    assert message.model_version == ""
    assert "role" not in message.parameters
    assert [output.name for output in message.outputs] == ["scores", "model_version", "role"]
    versions = np.frombuffer(message.raw_output_contents[1], dtype="<i8").tolist()
    assert set(versions) == {1, 2}
    assert [score > 500 for (score,) in scores_of(message)] == [version == 2 for version in versions]


def test_a_version_can_be_pinned() -> None:
    directory = {"trips": serving(Adds(), Adds(1000), shadows=(2,))}
    message = response(infer(directory, packed(ROW, model_version="2"), CHANCE)[0])
    assert message.model_version == "2"
    assert message.parameters["role"].string_param == "shadow"
    assert scores_of(message) == [[1027.5]]


@pytest.mark.parametrize(
    ("tensor", "column", "expected"),
    [
        ({"distance": ("INT64", [1, 1], [7])}, 0, 7.0),
        ({"distance": ("UINT8", [1], [7])}, 0, 7.0),
        ({"distance": ("FP64", [1], [0.1])}, 0, float(np.float32(0.1))),
        ({"distance": ("FP64", [1], [1e300])}, 0, NAN),
        ({"distance": ("FP32", [1], [100.5])}, 0, NAN),
        ({"distance": ("FP32", [1], [NAN])}, 0, NAN),
        ({"line": ("BYTES", [1], [b"blue"])}, 1, 0.0),
        ({"line": ("BYTES", [1], [b""])}, 1, NAN),
        ({"line": ("INT32", [1], [1])}, 1, 1.0),
        ({"line": ("FP32", [1], [NAN])}, 1, NAN),
        ({"rush": ("INT64", [1], [0])}, 2, 0.0),
        ({"rush": ("BOOL", [1], [False])}, 2, 0.0),
        ({"hour": ("INT64", [1], [3])}, 3, 3.0),
        ({"planned_hour": ("FP32", [1], [4.0])}, 4, 4.0),
        ({"planned": ("BYTES", [1], [b"2013-01-01T05:30:00Z"])}, 4, 5.0),
        ({"planned": ("INT64", [1], [NOON])}, 4, 12.0),
        ({"planned": ("FP64", [1], [float(NOON)])}, 4, 12.0),
        ({"planned": ("BYTES", [1], [b""])}, 4, NAN),
    ],
)
@pytest.mark.parametrize("raw", [True, False])
def test_each_kind_takes_its_forms(tensor: Any, column: int, expected: float, raw: bool) -> None:
    assert same([[matrix_of(request(tensor, raw=raw))[0][column]]], [[expected]])


def test_half_precision_is_read_too() -> None:
    assert matrix_of(request({"distance": ("FP16", [1], [0.5])}))[0][0] == 0.5


@pytest.mark.parametrize(
    ("parameters", "tensors"),
    [
        ({"event_time": "2013-06-01T03:10:00Z"}, {}),
        ({"event_time": 1_370_056_200_000}, {}),
        ({}, {"event_time": ("BYTES", [1], [b"2013-06-01T05:10:00+02:00"])}),
        ({"event_time": "2000-01-01"}, {"event_time": ("INT64", [1], [1_370_056_200_000])}),
    ],
)
def test_parts_of_the_events_time_are_computed_from_it(parameters: Any, tensors: Any) -> None:
    body = request({**BY_NAME, **tensors}, parameters=parameters)
    _, served = infer(DIRECTORY, body, CHANCE)
    assert served.asked.times == (1_370_056_200_000,)
    assert served.asked.vectors.matrix[0, 3] == 3.0


def test_without_an_event_time_it_is_now() -> None:
    assert matrix_of(request(BY_NAME), Chance(now=NOON + 3_600_000, new_id=lambda: "x"))[0][3] == 13.0


def test_packed_numbers_out_of_range_are_cleared_as_on_the_stream() -> None:
    _, served = infer(DIRECTORY, packed([1.0, NAN, 0.0, 1.0, 1.0], [101.0, 0.0, 0.0, 1.0, 1.0]), CHANCE)
    assert served.asked.vectors.cleared == ((), (0,))
    assert np.isnan(served.asked.vectors.matrix[1, 0])


def test_cleared_places_count_all_features_though_some_came_as_codes() -> None:
    features = ("line", "distance")
    assert NAMES[:2] == features[::-1]
    _, served = infer(
        DIRECTORY, request({"line": ("INT64", [1], [1]), "distance": ("FP32", [1], [500.0])}), CHANCE
    )
    assert served.asked.vectors.cleared == ((0,),)


events = st.fixed_dictionaries(
    {},
    optional={
        "distance": st.none() | st.floats() | st.integers(-(10**20), 10**20),
        "line": st.none() | st.sampled_from(["red", "green", "blue", "Red "]),
        "rush": st.none() | st.booleans(),
        "planned": st.none() | st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1)),  # noqa: DTZ001 - UTC, as records mean it
    },
)


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(events, min_size=1, max_size=4), times=st.lists(st.integers(0, 2**41), min_size=4))
def test_a_row_asked_for_is_the_row_the_stream_would_have_seen(
    rows: list[dict[str, Any]], times: list[int]
) -> None:
    times = times[: len(rows)]
    streamed = vectorise(PIPELINE.features, rows, np.array(times, dtype=np.int64))
    try:
        body = request_of("trips", table(rows), id="x", event_time=times).SerializeToString()
    except ValueError:
        assert all(value is None for row in rows for value in row.values())
        return
    _, served = infer(DIRECTORY, body, CHANCE)
    assert np.array_equal(served.asked.vectors.matrix, streamed.matrix, equal_nan=True)
    assert served.asked.vectors.cleared == streamed.cleared


def test_unknown_pipeline() -> None:
    fault = fault_of(packed(ROW, model_name="trip"))
    assert (fault.code, str(fault)) == ("NOT_FOUND", "no pipeline 'trip' (did you mean 'trips'?)")


def test_a_server_that_has_just_started_knows_no_names_yet() -> None:
    with pytest.raises(Fault, match="has just started") as caught:
        infer(STARTING, packed(ROW), CHANCE)
    assert caught.value.code == "UNAVAILABLE"


def test_unknown_version() -> None:
    for version in ("2", "x", "-1", "١", "01"):
        fault = fault_of(packed(ROW, model_version=version))
        assert (fault.code, str(fault)) == (
            "NOT_FOUND",
            f"pipeline 'trips' has no version {version!r} here, only 1",
        )


def test_a_version_of_many_digits_is_unknown_too() -> None:
    """Python refuses to read more than 4,300 of them as a number."""
    assert fault_of(packed(ROW, model_version="1" * 5000)).code == "NOT_FOUND"


def test_before_version_0() -> None:
    fault = fault_of(packed(ROW, model_name="new"))
    assert (fault.code, str(fault)) == (
        "UNAVAILABLE",
        "pipeline 'new' cannot answer yet: version 0 is not there yet",
    )


@pytest.mark.parametrize(
    ("body", "tensor", "text"),
    [
        (
            request({"distnce": ("FP32", [1], [1.0])}),
            "distnce",
            "is no feature of the pipeline (did you mean 'distance'?)",
        ),
        (request({"distance": ("BYTES", [1], [b"far"])}), "distance", "is BYTES, expected a numeric type"),
        (request({"distance": ("BOOL", [1], [True])}), "distance", "is BOOL, expected a numeric type"),
        (request({"rush": ("BYTES", [1], [b"yes"])}), "rush", "is BYTES, expected BOOL or 0 and 1"),
        (request({"line": ("BOOL", [1], [True])}), "line", "is BOOL, expected BYTES or codes"),
        (request({"hour": ("BYTES", [1], [b"3"])}), "hour", "is BYTES, expected a numeric type"),
        (request({"line": ("INT64", [1], [3])}), "line", "expected a code from 0 to 2"),
        (request({"line": ("FP32", [1], [0.5])}), "line", "expected a code from 0 to 2"),
        (request({"rush": ("INT64", [1], [2])}), "rush", "expected a code from 0 to 1"),
        (request({"line": ("BYTES", [1], [b"\xff"])}), "line", "has a value that is not UTF-8"),
        (request({"planned": ("BYTES", [1], [b"noon"])}), "planned", "expected a time"),
        (request({"planned": ("BOOL", [1], [True])}), "planned", "expected BYTES with ISO-8601"),
        (
            request({"distance": ("FP32", [1, 2], [1.0, 2.0])}),
            "distance",
            "expected [1] or [1, 1]",
        ),
        (request({"distance": ("FP32", [2], [1.0])}), "distance", "has 4 raw bytes, 2 of FP32 are 8"),
        (
            request({"distance": ("FP32", [2], [1.0])}, raw=False),
            "distance",
            "its shape [2] asks for 2",
        ),
        (request({"distance": ("FP32", [-1], [])}), "distance", "expected rows first"),
        (request({"distance": ("FP32", [], [1.0])}), "distance", "expected rows first"),
        (request({"distance": ("FP32", [0], [])}), "distance", "has no rows"),
        (request({"distance": ("FP32", [0, 2**62], [])}), "distance", "has no rows"),
        (request({"distance": ("FP32", [1] * 70, [1.0])}), "distance", "has 70 dimensions"),
        (request({"rush": ("UINT8", [1], [257])}, raw=False), "rush", "is 257, expected a code from 0 to 1"),
        (
            request({"distance": ("FP32", [2], [1.0, 2.0]), "rush": ("BOOL", [1], [True])}),
            "rush",
            "has 1 rows, 'distance' has 2",
        ),
        (packed(ROW[:4]), "features", "has shape [1, 4], expected [1, 5]"),
        (request({"features": ("FP32", [5], ROW)}), "features", "expected [5, 5]"),
        (request({"features": ("BYTES", [1, 5], [b"a"] * 5)}), "features", "is not numeric"),
        (packed([1.0, 7.0, 0.0, 0.0, 0.0]), "line", "feature 'line' is 7, expected a code from 0 to 2"),
        (packed([1.0, 1.5, 0.0, 0.0, 0.0]), "line", "feature 'line' is 1.5, expected a code from 0 to 2"),
        (
            request({"features": ("FP32", [1, 5], ROW), "rush": ("BOOL", [1], [True])}),
            "rush",
            "is not taken beside the packed tensor 'features'",
        ),
        (request({**BY_NAME, "id": ("INT64", [1], [1])}), "id", "expected BYTES [1]"),
        (request({**BY_NAME, "id": ("BYTES", [1], [b""])}), "id", "is empty or longer than 256"),
        (request({**BY_NAME, "event_time": ("BYTES", [1], [b""])}), "event_time", "expected a time"),
        (request({**BY_NAME, "event_time": ("INT64", [1], [-1])}), "event_time", "from 1970 to 9999"),
        (
            request({**BY_NAME, "event_time": ("INT64", [1, 2], [1, 1])}),
            "event_time",
            "has 2 values for 1 rows",
        ),
        (request(BY_NAME, parameters={"event_time": "soon"}), "event_time", "expected a time"),
        (request({}), "inputs", "there are no input tensors"),
        (packed(ROW, outputs=["score"]), "score", "output 'score' is not one of scores"),
        (packed(ROW, id="x" * 257), "id", "at most 256 are taken"),
    ],
)
def test_a_wrong_request_is_told_which_tensor_and_why(body: bytes, tensor: str, text: str) -> None:
    fault = fault_of(body)
    assert fault.code == "INVALID_ARGUMENT"
    assert [violation.field for violation in fault.violations] == [tensor]
    assert text in fault.violations[0].description
    assert text in str(fault)


def test_every_wrong_tensor_is_named() -> None:
    fault = fault_of(request({"a": ("FP32", [1], [1.0]), "rush": ("BYTES", [1], [b"x"])}))
    assert [violation.field for violation in fault.violations] == ["a", "rush"]


def test_a_wrong_row_is_named() -> None:
    fault = fault_of(request({"line": ("INT64", [3], [0, 1, 9])}))
    assert str(fault) == "row 2: feature 'line' is 9, expected a code from 0 to 2"


def test_unknown_datatypes() -> None:
    for raw in (True, False):
        message = oip_pb2.ModelInferRequest.FromString(request(BY_NAME, raw=raw))
        message.inputs[0].datatype = "BF16"
        assert "has datatype 'BF16', expected one of BOOL" in str(fault_of(message.SerializeToString()))


def test_a_tensor_twice() -> None:
    message = oip_pb2.ModelInferRequest.FromString(request(BY_NAME, raw=False))
    message.inputs.append(message.inputs[0])
    assert str(fault_of(message.SerializeToString())) == "tensor 'distance' is there twice"


def test_raw_and_typed_contents_exclude_each_other() -> None:
    message = oip_pb2.ModelInferRequest.FromString(request(BY_NAME))
    message.inputs[1].contents.bytes_contents.append(b"green")
    fault = fault_of(message.SerializeToString())
    assert (fault.violations[0].field, "exclude each other" in str(fault)) == ("line", True)


def test_raw_contents_for_some_inputs_only() -> None:
    message = oip_pb2.ModelInferRequest.FromString(request(BY_NAME))
    del message.raw_input_contents[2]
    assert str(fault_of(message.SerializeToString())) == "raw_input_contents has 2 entries for 3 inputs"


@pytest.mark.parametrize(
    "raw", [b"", b"\x05\x00\x00\x00abc", b"\x01\x00\x00\x00ab", b"\x01\x00", b"\xff\xff\xff\xff"]
)
def test_raw_bytes_that_do_not_add_up(raw: bytes) -> None:
    message = oip_pb2.ModelInferRequest.FromString(request(BY_NAME))
    message.raw_input_contents[1] = raw
    assert "is not 1 elements" in str(fault_of(message.SerializeToString()))


def test_too_many_rows() -> None:
    body = request({"distance": ("UINT8", [MAX_ROWS + 1], [1] * (MAX_ROWS + 1))})
    assert f"at most {MAX_ROWS} are taken at once" in str(fault_of(body))


def test_a_huge_shape_costs_nothing() -> None:
    body = request({"distance": ("FP32", [1, 2**62], [1.0])})
    assert "has 4 raw bytes" in str(fault_of(body))


def test_a_shadow_that_fails_takes_nothing_with_it() -> None:
    directory = {"trips": serving(Adds(), Breaks(), shadows=(2,))}
    answer, served = infer(directory, packed(ROW), CHANCE)
    assert scores_of(response(answer)) == [[27.5]]
    assert served.scored.failed == {2: "no luck with 1 rows"}


@pytest.mark.parametrize(
    ("model", "why"), [(Breaks(), "no luck with 1 rows"), (Nans(), "not a finite number")]
)
def test_a_champion_that_fails_is_an_internal_error_and_is_logged(model: Any, why: str) -> None:
    fault, served = infer({"trips": serving(model)}, packed([NAN, 0, 0, 0, 0], id="t"), CHANCE)
    assert isinstance(fault, Fault)
    assert (fault.code, str(fault)) == ("INTERNAL", f"version 1 could not score: {why}")
    assert served.asked.ids == ("t",)


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=200))
def test_whatever_bytes_come_it_is_an_answer_or_a_fault(body: bytes) -> None:
    outcome_of(body)


shapes = st.lists(st.integers(-3, 5) | st.integers(-(2**63), 2**63 - 1), max_size=3)
names = st.sampled_from([*NAMES, "features", "id", "event_time", "planned", "other"])
inputs = st.builds(
    lambda name, datatype, shape, field, values: (name, datatype, shape, field, values),
    names,
    st.sampled_from([*TYPED, "FP16", "BF16", ""]),
    shapes,
    st.sampled_from(list(TYPED.values())),
    st.lists(st.integers(0, 1), max_size=6),
)


@settings(max_examples=500, deadline=None)
@given(
    tensors=st.lists(inputs, max_size=3),
    raws=st.lists(st.binary(max_size=24), max_size=3),
    number=st.floats(),
)
def test_whatever_tensors_come_it_is_an_answer_or_a_fault(
    tensors: Any, raws: list[bytes], number: float
) -> None:
    message = oip_pb2.ModelInferRequest(model_name="trips", raw_input_contents=raws)
    message.parameters["event_time"].double_param = number
    for name, datatype, shape, field, values in tensors:
        tensor = message.inputs.add(name=name, datatype=datatype, shape=shape)
        convert = bytes if field == "bytes_contents" else int
        getattr(tensor.contents, field).extend(map(convert, values))
    outcome = outcome_of(message.SerializeToString())
    if isinstance(outcome, Fault):
        # Never INTERNAL: whatever a client sends is the client's.
        assert outcome.code == "INVALID_ARGUMENT"
        assert outcome.violations
