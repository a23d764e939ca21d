"""Numbers taken out of objects all at once are those taken out one by one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.kernel.columns import plain
from penstock.kernel.formats import Format
from penstock.runtime.broker import Record
from penstock.runtime.wire import Columns, Wire
from penstock.runtime.wire.numbers import number_columns

NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-3, 3) | st.integers(-(2**70), 2**70)
ANY = NUMBER | st.none() | st.booleans() | st.text(max_size=2) | st.lists(st.integers(), max_size=1)
NAMES = ("a", "b", "c")


def rows_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys((*NAMES, "other"), values)), max_size=5)


def one_by_one(value: object) -> float:
    return math.nan if value is None else float(value)  # type: ignore[arg-type] # numbers and nulls alone


@settings(max_examples=200, deadline=None)
@given(rows=rows_of(NUMBER | st.none()) | rows_of(ANY), names=st.lists(st.sampled_from(NAMES), unique=True))
def test_all_at_once_or_not_at_all(rows: list[dict[str, Any]], names: list[str]) -> None:
    found = number_columns(rows, names)
    values = [row.get(name) for row in rows for name in names]
    clean = all(type(value) in (int, float, type(None)) for value in values)
    assert bool(found) == bool(rows and names and clean)
    for name, column in found.items():
        np.testing.assert_array_equal(column, [one_by_one(row.get(name)) for row in rows])


def test_a_whole_number_beyond_any_double_is_left_to_others() -> None:
    assert number_columns([{"a": 10**400}], ["a"]) == {}
    assert number_columns([{"a": 10**400, "b": None}], ["a", "b"]) == {}


def read(*objects: object, numbers: tuple[str, ...] = NAMES) -> Columns:
    wire = Wire(Format(), ["id", *NAMES, "deep.d"], numbers=[*numbers, "deep.d"])
    payloads = [each if isinstance(each, bytes) else orjson.dumps(each) for each in objects]
    return wire.read([Record("t", 0, at, 0, None, payload) for at, payload in enumerate(payloads)])


def test_numbers_come_as_doubles_and_stand_side_by_side() -> None:
    columns = read({"id": 7, "b": 1, "a": 0.5, "deep": {"d": 3}}, b"{", {"id": 8, "c": 2})
    assert {
        path: list(plain(values)) for path, values in columns.values.items() if path in ("id", "deep.d")
    } == {
        "id": [7, 8],
        "deep.d": [3, None],
    }
    block = [columns.values[name] for name in NAMES]
    np.testing.assert_array_equal(np.array(block), [[0.5, math.nan], [1, math.nan], [math.nan, 2]])
    assert list(columns.refused) == [1]


@pytest.mark.parametrize("odd", ["1", True, [1], {}])
def test_one_value_that_is_no_number_is_kept_as_it_is(odd: object) -> None:
    columns = read({"a": 1, "b": 0}, {"a": odd})
    assert columns.values["a"] == [1, odd]
    assert columns.values["b"] == [0, None]


def test_a_batch_of_many_is_read_as_one() -> None:
    rows = [
        b"{" if at % 700 == 3 else {"id": at, "a": at / 2, "b": "x" if at == 1500 else 1}
        for at in range(2500)
    ]
    columns = read(*rows)
    there = [at for at, row in enumerate(rows) if isinstance(row, dict)]
    assert (list(columns.places), sorted(columns.refused)) == (there, [3, 703, 1403, 2103])
    assert plain(columns.values["id"]) == there
    np.testing.assert_array_equal(np.array(columns.values["a"]), [at / 2 for at in there])
    assert plain(columns.values["b"]) == ["x" if at == 1500 else 1 for at in there]
