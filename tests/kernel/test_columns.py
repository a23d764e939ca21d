"""A batch is coded the same in whatever form its columns come: lists, arrays, words."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.kernel.columns import Values, Words, plain, take
from penstock.kernel.features import vectorise_columns
from penstock.kernel.kinds import Boolean, Category, Feature, Number, TimePart
from penstock.kernel.otherwise import Otherwise
from penstock.kernel.times import event_times_ms

FEATURES = (
    Feature(name="plain", kind=Number()),
    Feature(name="ranged", kind=Number(min=-1.0, max=1.0)),
    Feature(name="demanded", kind=Number(required=True)),
    Feature(name="refused", kind=Number(max=2.0, otherwise=Otherwise(range="dead_letter"))),
    Feature(name="listed", kind=Number(values=(0.0, 1.0))),
    Feature(name="word", kind=Category(values=("a", "b"))),
    Feature(name="spelt", kind=Category(values=("a", "b"), pattern="^[ab]$", required=True)),
    Feature(name="flag", kind=Boolean()),
    Feature(name="hour", kind=TimePart(part="hour", field="began")),
)
REAL = st.sampled_from([0.0, 0.5, 1.0, -3.0, 1e300, math.inf, math.nan])
ROW = st.fixed_dictionaries(
    {
        **dict.fromkeys(("plain", "ranged", "demanded", "refused", "listed"), REAL),
        **dict.fromkeys(("word", "spelt"), st.sampled_from(["a", "b", "c", None])),
        "flag": st.booleans(),
        "began": st.sampled_from([0, 3_600_000, -1, 2**62]),
    }
)


def as_arrays(rows: list[dict[str, Any]]) -> dict[str, Values]:
    """As a decoder by columns gives them."""
    columns: dict[str, Values] = {}
    for name in rows[0]:
        column = [row[name] for row in rows]
        if name in ("word", "spelt"):
            words = (None, *sorted({each for each in column if each is not None}))
            columns[name] = Words(words, np.array([words.index(each) for each in column], dtype=np.intp))
        else:
            columns[name] = np.array(column)
    return columns


def as_lists(rows: list[dict[str, Any]]) -> dict[str, Values]:
    nan_is_null = [
        {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in row.items()
        }
        for row in rows
    ]
    return {name: [row[name] for row in nan_is_null] for name in rows[0]}


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=6))
def test_arrays_and_words_are_coded_as_lists_are(rows: list[dict[str, Any]]) -> None:
    times = np.zeros(len(rows), dtype=np.int64)
    one, other = (vectorise_columns(FEATURES, form(rows), times) for form in (as_arrays, as_lists))
    np.testing.assert_array_equal(one.matrix, other.matrix)
    assert (one.cleared, one.unseen) == (other.cleared, other.unseen)
    assert {row: str(why) for row, why in one.invalid.items()} == {
        row: str(why) for row, why in other.invalid.items()
    }
    told = [
        {(each.field, each.rule, each.action): each.rows.tolist() for each in vectors.broken}
        for vectors in (one, other)
    ]
    assert told[0] == told[1]


@given(
    values=st.lists(
        st.integers(-(2**70), 2**70) | st.booleans() | st.none() | st.text(max_size=2), max_size=4
    )
)
def test_times_of_a_column_are_left_to_be_read_singly_unless_plainly_right(values: list[object]) -> None:
    times, odd = event_times_ms(values)
    for value, time, left in zip(values, times.tolist(), odd.tolist(), strict=True):
        if not left:
            assert (type(value), value) == (int, time)
            assert 0 <= time < 253_402_300_800_000
    if all(type(value) is int and 0 <= value < 10**12 for value in values):
        assert not odd.any()


def test_rows_are_taken_of_any_form() -> None:
    rows = np.array([True, False, True])
    for column in (["a", "b", "c"], np.array(["a", "b", "c"]), Words(("c", "a", "b"), np.array([1, 2, 0]))):
        assert list(plain(take(column, rows))) == ["a", "c"]
        assert len(column) == 3
