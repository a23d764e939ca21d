"""Numbers about scores for people to read; what decides is the loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from penstock.kernel.metrics import accuracy, answers, auc
from penstock.kernel.policy import Task

FloatArray = NDArray[np.float64]


def quality(task: Task, scores: FloatArray, labels: FloatArray) -> dict[str, float]:
    """What is usually told of a model: accuracy and, where both classes occur, the area under the ROC curve.

    Args:
        task: what the labels are.
        scores: shape (n, outputs), n at least 1.
        labels: shape (n,).

    >>> quality("binary", np.array([[0.1], [0.4], [0.9]]), np.array([0.0, 1.0, 1.0]))
    {'accuracy': 0.6666666666666666, 'auc': 1.0}
    """
    if task == "regression":
        return {"absolute_error": float(np.abs(scores[:, 0] - labels).mean())}
    found = {"accuracy": accuracy(answers(scores), labels), "auc": None}
    if task == "binary":
        found["auc"] = auc(scores, labels)
    return {name: value for name, value in found.items() if value is not None}
