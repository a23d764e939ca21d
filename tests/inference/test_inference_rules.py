"""What a rule of the pipeline file does to a client's tensors: what it does to the stream's events."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.inference.coding import code
from penstock.inference.faults import Fault
from penstock.inference.layout import Layout
from penstock.kernel.features import vectorise
from penstock.kernel.pipeline import Pipeline
from tests.scenarios.system import CHURN

ACTIONS = ("dead_letter", "set_missing", "flag")


def layout(**features: object) -> Layout:
    return Layout.of(Pipeline.read({**CHURN, "features": features}))


def packed(of: Layout, *row: float) -> tuple[list[float], tuple[int, ...]] | str:
    try:
        coded = code(of, {"features": np.array([row], dtype=np.float64)}, [0])
    except Fault as fault:
        return fault.violations[0].description
    return coded.matrix[0].tolist(), coded.cleared[0]


def test_a_range_that_only_marks_lets_the_value_stand() -> None:
    assert packed(layout(x={"number": {"max": 1, "otherwise": "flag"}}), 7) == ([7.0], ())


def test_a_range_that_refuses_is_an_invalid_argument() -> None:
    refused = layout(x={"number": {"max": 1, "otherwise": {"range": "dead_letter"}}})
    assert packed(refused, 7) == "feature 'x' is 7, which the pipeline does not allow"
    assert packed(refused, 1) == ([1.0], ())


def test_what_is_required_and_only_marked_may_be_missing() -> None:
    marked = layout(x={"number": {"required": True, "otherwise": {"required": "flag"}}})
    coded = code(marked, {"features": np.array([[np.nan]])}, [0])
    assert np.isnan(coded.matrix).all()
    assert coded.cleared == ((),)


@given(
    action=st.sampled_from(ACTIONS),
    kind=st.sampled_from(["range", "values", "category"]),
    value=st.sampled_from([None, 0.5, 1.0, 2.0, 3.0]),
)
def test_the_stream_and_a_client_see_the_same(action: str, kind: str, value: float | None) -> None:
    specs: dict[str, Any] = {
        "range": {"number": {"min": 1, "max": 2, "otherwise": {"range": action}}},
        "values": {"number": {"values": [1, 3], "otherwise": {"values": action}}},
        "category": {"category": {"values": ["a", "b"], "otherwise": {"values": action}}},
    }
    of = layout(x=specs[kind])
    word: object = value
    number = np.nan if value is None else value
    if kind == "category" and value is not None:
        word, number = {0.5: ("z", 0.0), 1.0: ("a", 1.0)}.get(value, ("b", 2.0))
    streamed = vectorise(of.features, [{"x": word}], np.zeros(1, dtype=np.int64))
    asked = packed(of, number)
    if streamed.invalid:
        assert isinstance(asked, str)
    else:
        assert not isinstance(asked, str)
        np.testing.assert_array_equal(asked[0], streamed.matrix[0])
        assert asked[1] == streamed.cleared[0]


def test_a_code_for_no_word_is_a_mistake_whatever_the_rule() -> None:
    told = packed(layout(x={"category": ["a"], "otherwise": {"values": "set_missing"}}), 5)
    assert told == "feature 'x' is 5, expected a code from 0 to 1"


@pytest.mark.parametrize("action", ACTIONS)
def test_words_and_codes_may_come_side_by_side(action: str) -> None:
    of = layout(
        word={"category": ["a"], "otherwise": {"values": action}},
        code={"category": ["a"], "otherwise": {"values": action}},
    )
    tensors = {"word": np.array([b"z", b"a"], dtype=object), "code": np.array([1, 0])}
    if action == "dead_letter":
        with pytest.raises(Fault):
            code(of, tensors, [0, 0])
    else:
        lost = ((0,), (1,)) if action == "set_missing" else ((), ())
        assert code(of, tensors, [0, 0]).cleared == lost
