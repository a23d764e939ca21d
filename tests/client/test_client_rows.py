"""Rows as people have them, and the tensors that they become."""

from __future__ import annotations

import decimal
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from penstock.client import PenstockError
from penstock.client.messages import predictions_of, request_of
from penstock.client.rows import milliseconds, table
from penstock.contracts import oip_pb2

NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)


def sent(rows: Any, **options: Any) -> dict[str, tuple[str, list[Any]]]:
    request = request_of("churn", table(rows), **{"id": "x", **options})
    fields = {
        "BYTES": "bytes_contents",
        "FP64": "fp64_contents",
        "BOOL": "bool_contents",
        "INT64": "int64_contents",
    }
    return {
        tensor.name: (tensor.datatype, list(getattr(tensor.contents, fields[tensor.datatype])))
        for tensor in request.inputs
    }


@pytest.mark.parametrize(
    ("value", "tensor"),
    [
        ("pro", ("BYTES", [b"pro"])),
        ("", ("BYTES", [b""])),
        (NOON, ("BYTES", [b"2013-01-01T12:00:00+00:00"])),
        (True, ("BOOL", [True])),
        (41, ("FP64", [41.0])),
        (decimal.Decimal("1.5"), ("FP64", [1.5])),
        (np.float32(2.5), ("FP64", [2.5])),
        (np.int64(7), ("FP64", [7.0])),
    ],
)
def test_each_value_has_its_tensor(value: Any, tensor: tuple[str, list[Any]]) -> None:
    assert sent({"f": value}) == {"f": tensor}


def test_missing_values_have_their_signs() -> None:
    found = sent([{"plan": "pro", "age": 41, "trial": True}, {}, {"plan": None, "age": 29, "trial": None}])
    assert found["plan"] == ("BYTES", [b"pro", b"", b""])
    assert found["age"][1][::2] == [41.0, 29.0]
    assert math.isnan(found["age"][1][1])
    assert found["trial"][0] == "FP64"  # a boolean with holes is 1, 0 and NaN
    assert "gone" not in sent({"gone": None, "age": 1})


def test_columns_come_from_anything_that_lists_itself() -> None:
    columns = {"age": np.array([41, 29], dtype=np.int16), "plan": np.array(["pro", "free"], dtype=object)}
    assert sent(columns) == {"age": ("FP64", [41.0, 29.0]), "plan": ("BYTES", [b"pro", b"free"])}
    assert table({"age": np.float64(3)}).single


@pytest.mark.parametrize(
    ("rows", "kind", "why"),
    [
        ("age", TypeError, "rows are a str, expected a dictionary of values"),
        (3, TypeError, "rows are a int"),
        ([], ValueError, "there are no rows"),
        ({"age": []}, ValueError, "there are no rows"),
        ([{"age": 1}, 3], TypeError, "row 1 is a int, expected a dictionary"),
        ({"age": [1, 2], "plan": "pro"}, TypeError, "feature 'plan' is one value beside columns"),
        ({"age": [1, 2], "plan": ["pro"]}, ValueError, "column 'plan' has 1 values, 'age' has 2"),
        ({}, ValueError, "give at least one feature"),
        ({"age": None}, ValueError, "give at least one feature"),
        ([{"line": "red"}, {"line": True}], TypeError, "feature 'line' has values of type bool, str"),
        ([{"line": 1.0}, {"line": True}], TypeError, "feature 'line' has values of type bool, float"),
        ({"line": b"red"}, TypeError, "feature 'line' has values of type bytes, expected text, numbers"),
        ({"line": {"a": 1}}, TypeError, "feature 'line' has values of type dict"),
    ],
)
def test_what_cannot_be_sent_is_said_before_it_is(rows: Any, kind: type[Exception], why: str) -> None:
    with pytest.raises(kind, match=why):
        sent(rows)


def test_ids_and_times_are_for_one_row_or_each() -> None:
    two = [{"age": 1}, {"age": 2}]
    found = sent(two, id=["a", "b"], event_time=[NOON, 5])
    assert found["id"] == ("BYTES", [b"a", b"b"])
    assert found["event_time"] == ("INT64", [1357041600000, 5])
    single = request_of("churn", table({"age": 1}), id=["a"], event_time=[NOON])
    assert (single.id, single.parameters["event_time"].int64_param) == ("a", 1357041600000)
    assert request_of("churn", table(two), id="a", event_time=7).parameters["event_time"].int64_param == 7
    for wrong in ({"id": ["a"]}, {"event_time": [1, 2, 3]}):
        with pytest.raises(ValueError, match=r"has \d items for 2 rows"):
            sent(two, **wrong)


def test_parameters_keep_their_type() -> None:
    request = request_of(
        "churn", table({"age": 1}), id="x", parameters={"a": "b", "n": 3, "f": 0.5, "t": True}
    )
    found = {name: each.WhichOneof("parameter_choice") for name, each in request.parameters.items()}
    assert found == {"a": "string_param", "n": "int64_param", "f": "double_param", "t": "bool_param"}
    with pytest.raises(TypeError, match="parameter 'a' is a list, expected text, a number, or true or false"):
        request_of("churn", table({"age": 1}), id="x", parameters={"a": []})  # type: ignore[dict-item]  # the point


def test_a_time_is_milliseconds_since_1970() -> None:
    assert milliseconds(7) == 7
    assert milliseconds(NOON) == milliseconds(NOON.replace(tzinfo=None)) == 1357041600000
    assert milliseconds(NOON.astimezone(timezone(timedelta(hours=5)))) == 1357041600000


def test_an_answer_of_another_kind_is_said() -> None:
    other = oip_pb2.ModelInferResponse(model_name="churn")
    other.outputs.add(name="output__0", datatype="FP32", shape=[1, 1])
    with pytest.raises(PenstockError, match="the answer lacks the output 'scores': is that a Penstock"):
        predictions_of(other.SerializeToString())
