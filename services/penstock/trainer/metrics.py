"""Numbers about scores for people to read; what decides is the loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
    said = scores[:, 0] >= 0.5 if task == "binary" else scores.argmax(axis=1)  # noqa: PLR2004 - more likely than not
    found = {"accuracy": float((said == labels).mean())}
    if task == "binary" and labels.min() < labels.max():
        found["auc"] = _auc(scores[:, 0], labels == 1)
    return found


def _auc(scores: FloatArray, positive: NDArray[np.bool_]) -> float:
    """How likely a positive scores above a negative, ties by half.

    Source: Hanley and McNeil, "The meaning and use of the area under a ROC curve" (1982): the Mann-Whitney U.
    """
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[place]
    positives = int(positive.sum())
    above = float(ranks[positive].sum()) - positives * (positives + 1) / 2
    return above / (positives * (len(scores) - positives))
