"""Models of a usual size, learned from rows made up for them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Final

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier  # type: ignore[import-untyped]  # it ships no types

from penstock.trainer.boosting import forest_of
from penstock.trainer.export import export
from penstock.trainer.fitted import Boosted, Head
from penstock.trainer.linear import logistic
from penstock.trainer.threads import one_thread

ROWS: Final = 4000


def boosting(features: int, *, number: int = 0) -> bytes:
    """100 boosted trees of 31 leaves for a binary task, as the ONNX file that the trainer would write.

    Args:
        features: of a row.
        number: another number is another model, and as large.
    """
    fitted = _fitted(features)
    forest = replace(fitted.forest, value=fitted.forest.value * (1 + number / 1000))
    return export(replace(fitted, forest=forest))


@cache
def _fitted(features: int) -> Boosted:
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(ROWS, features)).astype(np.float32).astype(np.float64)
    hidden = rows[:, 0] - rows[:, 1] * rows[:, 2] + chance.normal(size=ROWS)
    with one_thread():
        model = HistGradientBoostingClassifier(
            max_iter=100, learning_rate=0.05, max_leaf_nodes=31, early_stopping=False, random_state=0
        )
        model.fit(rows, hidden > 0)
    return Boosted(
        model=model,
        forest=forest_of(model, two_classes=False),
        head=Head(link="sigmoid", places=(0,), outputs=1),
        features=features,
    )


def logistic_regression(features: int) -> bytes:
    """A logistic regression on standardised numbers, as the ONNX file that the trainer would write."""
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(ROWS, features)).astype(np.float32).astype(np.float64)
    hidden = rows @ chance.normal(size=features) + chance.normal(size=ROWS)
    labels = (hidden > 0).astype(np.float64)
    return export(logistic("binary", rows, labels, categories=[0] * features, outputs=1, seed=0))
