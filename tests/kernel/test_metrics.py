"""Metrics against their definitions, pair by pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.metrics import accuracy, answers, auc

if TYPE_CHECKING:
    from collections.abc import Sequence

ROWS = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=40)


@given(ROWS)
def test_auc_is_the_share_of_pairs_in_the_right_order(rows: Sequence[tuple[int, bool]]) -> None:
    ones = [score for score, positive in rows if positive]
    zeros = [score for score, positive in rows if not positive]
    found = auc(np.array([[score / 4] for score, _ in rows]), np.array([float(each) for _, each in rows]))
    if not ones or not zeros:
        assert found is None
        return
    pairs = [(one > zero) + (one == zero) / 2 for one in ones for zero in zeros]
    assert found == pytest.approx(np.mean(pairs))


def test_auc_of_several_classes_is_the_mean_over_those_that_occur() -> None:
    scores = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.5, 0.4, 0.1]])
    assert auc(scores, np.array([0.0, 1.0, 1.0])) == pytest.approx(1.0)
    assert auc(scores, np.array([0.0, 1.0, 0.0])) == pytest.approx(1.0)
    assert auc(scores, np.array([1.0, 0.0, 0.0])) == pytest.approx(0.0)


def test_accuracy_of_nothing_is_none() -> None:
    assert accuracy(np.empty(0), np.empty(0)) is None
    assert accuracy(answers(np.array([[0.9], [0.2]])), np.array([1.0, 1.0])) == 0.5
