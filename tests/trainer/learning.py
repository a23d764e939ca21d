"""Rows to learn from, made up: numbers, categories, holes, and an outcome that depends on some of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.kernel.policy import Algorithm, Task
from penstock.kernel.units import EvidenceUnit
from penstock.trainer.request import Request

FloatArray = NDArray[np.float64]
CATEGORIES = (0, 0, 0, 0, 11, 3)
HOUR = 3_600_000

ALGORITHMS: list[tuple[Algorithm, Task, int]] = [
    ("hist_gradient_boosting", "binary", 1),
    ("hist_gradient_boosting", "multiclass", 3),
    ("hist_gradient_boosting", "regression", 1),
    ("logistic_regression", "binary", 1),
    ("logistic_regression", "multiclass", 3),
]


def made_up(count: int, *, task: Task = "binary", seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Rows of six features, the last two of them categories, and labels."""
    chance = np.random.default_rng(seed)
    rows = chance.normal(size=(count, len(CATEGORIES)))
    rows[:, 1] = rows[:, 1] * 1e-3 + 1e3  # a spread that is small beside its level
    rows[:, 3] = np.round(rows[:, 3], 1)  # values that thresholds fall on
    rows[:, 4:] = np.stack([chance.integers(0, words + 1, count) for words in CATEGORIES[4:]], axis=1)
    rows = rows.astype(np.float32).astype(np.float64)
    hidden = rows[:, 0] + (rows[:, 4] % 3) - 1 + rows[:, 3] * (rows[:, 5] == 2) + chance.normal(size=count)
    rows[chance.random(rows.shape) < 0.1] = np.nan
    match task:
        case "binary":
            return rows, (hidden > 0.5).astype(np.float64)
        case "multiclass":
            return rows, np.digitize(hidden, [-0.5, 1]).astype(np.float64)
        case "regression":
            return rows, hidden * 100 + 5000


def job(count: int = 400, *, task: Task = "binary", seed: int = 0, **changes: Any) -> Request:
    """A job on made-up rows, ten of them an hour."""
    rows, labels = made_up(count, task=task, seed=seed)
    request = Request(
        algorithm="hist_gradient_boosting",
        task=task,
        categories=CATEGORIES,
        outputs=3 if task == "multiclass" else 1,
        objective="squared_error" if task == "regression" else "log_loss",
        rows=rows,
        labels=labels,
        times=np.arange(count, dtype=np.int64) * (HOUR // 10),
        compare=EvidenceUnit.read("1h"),
        alarm=EvidenceUnit.read("1h"),
        seed=7,
    )
    return replace(request, **changes)
