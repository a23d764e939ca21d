"""Labels and losses against their definitions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.errors import Invalid
from penstock.kernel.labels import make_label
from penstock.kernel.losses import EPSILON, losses
from penstock.kernel.pipeline import Pipeline


def pipeline(task: str, **labels: str) -> Pipeline:
    classes: dict[str, Any] = {"classes": ["red", "green", "blue"]} if task == "multiclass" else {}
    return Pipeline.read(
        {
            "pipeline": "p",
            "task": task,
            "events": {"topic": "events", "id": "id", "time": "t"},
            "labels": {"topic": "labels", "id": "id", "time": "t", "value": "y", "horizon": "1d", **labels},
            "features": {"x": "number"},
            **classes,
        }
    )


@pytest.mark.parametrize(
    ("spec", "value", "label"),
    [
        (pipeline("binary", positive=">= 15"), 15, 1.0),
        (pipeline("binary", positive=">= 15"), 14.5, 0.0),
        (pipeline("binary"), True, 1.0),
        (pipeline("binary"), False, 0.0),
        (pipeline("binary"), 1, 1.0),
        (pipeline("binary"), 0.0, 0.0),
        (pipeline("multiclass"), "red", 0.0),
        (pipeline("multiclass"), "blue", 2.0),
        (pipeline("regression"), -3.5, -3.5),
        (pipeline("regression"), 7, 7.0),
    ],
)
def test_labels(spec: Pipeline, value: object, label: float) -> None:
    made = make_label(spec, value)
    assert made == label
    assert isinstance(made, float)


@pytest.mark.parametrize(
    ("spec", "value", "reason"),
    [
        (pipeline("binary", positive=">= 15"), "20", "wrong_type"),
        (pipeline("binary", positive=">= 15"), True, "wrong_type"),
        (pipeline("binary", positive=">= 15"), math.nan, "out_of_range"),
        (pipeline("binary", positive=">= 15"), None, "missing"),
        (pipeline("binary"), 2, "wrong_type"),
        (pipeline("binary"), "yes", "wrong_type"),
        (pipeline("binary"), [1], "wrong_type"),
        (pipeline("multiclass"), "pink", "unknown_class"),
        (pipeline("multiclass"), 1, "wrong_type"),
        (pipeline("regression"), math.inf, "out_of_range"),
        (pipeline("regression"), 10**400, "out_of_range"),
        (pipeline("regression"), -1e39, "out_of_range"),
        (pipeline("regression"), "3", "wrong_type"),
        (pipeline("regression"), False, "wrong_type"),
    ],
)
def test_what_is_no_label(spec: Pipeline, value: object, reason: str) -> None:
    with pytest.raises(Invalid, match="label 'y' is") as invalid:
        make_label(spec, value)
    assert (invalid.value.reason, invalid.value.field) == (reason, "y")


def loss(objective: Any, scores: list[float], label: float) -> float:
    """Of one row."""
    return float(losses(objective, [scores], [label])[0])


probability = st.floats(0, 1)
truth = st.sampled_from([0.0, 1.0])


@given(probability, truth)
def test_binary_losses_are_their_definitions(p: float, y: float) -> None:
    happened = min(max(p if y else 1 - p, EPSILON), 1 - EPSILON)
    assert loss("log_loss", [p], y) == pytest.approx(-math.log(happened))
    assert loss("brier", [p], y) == pytest.approx((p - y) ** 2)


@given(st.lists(probability, min_size=3, max_size=3), st.integers(0, 2))
def test_multiclass_losses_are_their_definitions(scores: list[float], y: int) -> None:
    happened = min(max(scores[y], EPSILON), 1 - EPSILON)
    assert loss("log_loss", scores, y) == pytest.approx(-math.log(happened))
    squares = [(score - (k == y)) ** 2 for k, score in enumerate(scores)]
    assert loss("brier", scores, y) == pytest.approx(sum(squares))


@given(
    st.lists(st.tuples(probability, truth), max_size=20),
    st.sampled_from(["log_loss", "brier", "squared_error"]),
)
def test_a_batch_has_the_losses_of_its_rows(rows: list[tuple[float, float]], objective: Any) -> None:
    scores = np.array([[p] for p, _ in rows], dtype=np.float32).reshape(-1, 1)
    labels = np.array([y for _, y in rows])
    together = losses(objective, scores, labels)
    assert together.shape == (len(rows),)
    alone = [loss(objective, [float(p)], y) for p, y in zip(scores[:, 0], labels, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_two_classes_may_be_scored_either_way() -> None:
    assert loss("log_loss", [0.3, 0.7], 1.0) == pytest.approx(loss("log_loss", [0.7], 1.0))


def test_being_sure_and_wrong_is_dear_but_finite() -> None:
    assert loss("log_loss", [0.0], 1.0) == loss("log_loss", [1.0], 0.0) == pytest.approx(15.942, abs=1e-3)
    assert 0 < loss("log_loss", [1.0], 1.0) < 1e-6


def test_what_a_model_could_not_score_costs_no_number() -> None:
    assert math.isnan(loss("log_loss", [math.nan], 1.0))
    assert math.isnan(loss("brier", [math.nan, 0.5], 0.0))
