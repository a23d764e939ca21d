"""Rows written by columns are the bytes of rows written one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.contracts.records import FeatureRow
from penstock.runtime.codec import Codec
from penstock.runtime.columnar import write_rows

ROW = st.tuples(
    st.text(max_size=5) | st.text("0123456789", min_size=1, max_size=40) | st.just("é" * 100),
    st.integers(0, 253_402_300_799_999) | st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 70),
    st.just(()) | st.lists(st.integers(0, 40), max_size=3).map(tuple),
    st.just(()) | st.lists(st.text(max_size=3), max_size=2).map(tuple),
)


@settings(max_examples=300, deadline=None)
@given(rows=st.lists(ROW, max_size=8), features=st.integers(1, 33))
@example(rows=[("", 2**63 - 1, (), ()), ("", -(2**63), (), ())], features=1)
def test_rows_by_columns_are_rows_one_by_one(
    rows: list[tuple[str, int, tuple[int, ...], tuple[str, ...]]], features: int
) -> None:
    codec = Codec().rows(FeatureRow, "churn", "00ff", [f"f{place}" for place in range(features)])
    matrix = np.random.default_rng(len(rows)).normal(size=(len(rows), features))
    matrix[matrix > 1] = np.nan
    heads = [FeatureRow(id=name, time=time, cleared=gone, flags=marks) for name, time, gone, marks in rows]
    found = write_rows(
        codec,
        ids=[head.id for head in heads],
        times=np.array([head.time for head in heads], dtype=np.int64),
        cleared=[head.cleared for head in heads],
        flags=[head.flags for head in heads],
        matrix=matrix,
    )
    assert found == codec.encode(heads, matrix)
    assert [codec.head(payload) for payload in found] == heads


def test_a_matrix_that_lies_otherwise_in_memory_is_written_the_same() -> None:
    codec = Codec().rows(FeatureRow, "churn", "00ff", ["a", "b"])
    matrix = np.asfortranarray(np.arange(6.0).reshape(3, 2))
    found = write_rows(
        codec, ids=list("xyz"), times=np.arange(3), cleared=[()] * 3, flags=[()] * 3, matrix=matrix
    )
    np.testing.assert_array_equal(codec.matrix(found), matrix)
