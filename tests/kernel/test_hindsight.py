"""The best constant in hindsight: what it costs follows from sums, and no other constant costs less."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.accepted import LabelSums, hindsight
from penstock.kernel.labels import LARGEST
from penstock.kernel.losses import losses
from penstock.kernel.policy import Objective

CLASSES: list[Objective] = ["log_loss", "brier"]
objectives = pytest.mark.parametrize("objective", CLASSES)


def cost(objective: Objective, constant: Sequence[float], labels: Sequence[float]) -> float:
    """Mean loss of the same answer to every row."""
    return float(losses(objective, [list(constant)] * len(labels), labels).mean())


@objectives
@given(labels=st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=30), other=st.floats(0, 1))
def test_of_two_classes_it_is_the_rate(objective: Objective, labels: list[float], other: float) -> None:
    least = hindsight(objective, LabelSums.of(labels, classes=0))
    assert least == pytest.approx(cost(objective, [float(np.mean(labels))], labels), abs=1e-6)
    assert least <= cost(objective, [other], labels) + 1e-9


@objectives
@given(
    labels=st.lists(st.integers(0, 3).map(float), min_size=1, max_size=30),
    other=st.lists(st.floats(0.01, 1), min_size=4, max_size=4),
)
def test_of_more_classes_it_is_their_shares(
    objective: Objective, labels: list[float], other: list[float]
) -> None:
    least = hindsight(objective, LabelSums.of(labels, classes=4))
    shares = np.bincount(np.array(labels, dtype=int), minlength=4) / len(labels)
    assert least == pytest.approx(cost(objective, shares.tolist(), labels), abs=1e-6)
    assert least <= cost(objective, [each / sum(other) for each in other], labels) + 1e-9


@given(labels=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), other=st.floats(-1e3, 1e3))
def test_of_numbers_it_is_their_mean(labels: list[float], other: float) -> None:
    least = hindsight("squared_error", LabelSums.of(labels, classes=0))
    assert least == pytest.approx(cost("squared_error", [float(np.mean(labels))], labels), abs=1e-6)
    assert least <= cost("squared_error", [other], labels) + 1e-6


@given(
    parts=st.lists(st.lists(st.integers(0, 2).map(float), max_size=8), min_size=1, max_size=6),
    classes=st.sampled_from([0, 3]),
)
def test_parts_add_up_to_the_whole(parts: list[list[float]], classes: int) -> None:
    whole = LabelSums.of([label for part in parts for label in part], classes=classes)
    sums = [LabelSums.of(part, classes=classes) for part in parts]
    assert reduce(LabelSums.plus, sums) == whole
    assert reduce(LabelSums.plus, sums, LabelSums()) == whole


def test_labels_that_are_all_alike_cost_nothing_however_great() -> None:
    for label in (0.0, 1 / 3, 1e9 + 0.1, LARGEST):
        for rows in (1, 3, 1_000):
            costs = hindsight("squared_error", LabelSums.of([label] * rows, classes=0))
            assert 0 <= costs <= 1e-15 * label * label
