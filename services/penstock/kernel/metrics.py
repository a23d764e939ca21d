"""Metrics: how good the answers to many rows were, in one number. Larger is better, but for losses.

Scores and labels are as for `penstock.kernel.losses`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]


def answers(scores: FloatArray) -> FloatArray:
    """The label that is most likely by each row's scores; the first one where several are.

    Args:
        scores: probabilities, shape (rows, outputs).

    >>> answers(np.array([[0.7], [0.5]])), answers(np.array([[0.2, 0.5, 0.3]]))
    (array([1., 0.]), array([1.]))
    """
    if scores.shape[1] == 1:
        return np.where(scores[:, 0] > 0.5, 1.0, 0.0)  # noqa: PLR2004 - as likely as not
    likeliest: FloatArray = scores.argmax(axis=1).astype(np.float64)
    return likeliest


def accuracy(answered: FloatArray, labels: FloatArray) -> float | None:
    """Share of the rows whose answer is the label; None without a row.

    >>> accuracy(np.array([1.0, 0.0, 1.0, 1.0]), np.array([1.0, 0.0, 0.0, 1.0]))
    0.75
    """
    return float((answered == labels).mean()) if len(labels) else None


def auc(scores: FloatArray, labels: FloatArray) -> float | None:
    r"""Area under the ROC curve: $P(s^+ > s^-) + \tfrac12 P(s^+ = s^-)$, by ranks.

    With several classes the mean over them, each against the rest (macro, one versus rest), of those that
    occur.

    Args:
        scores: shape (rows, outputs).
        labels: shape (rows,).

    Returns:
        None where all labels are the same: there is nothing to tell apart.

    >>> auc(np.array([[0.1], [0.4], [0.4], [0.8]]), np.array([0.0, 0.0, 1.0, 1.0]))
    0.875
    >>> auc(np.array([[0.3], [0.9]]), np.array([1.0, 1.0])) is None
    True

    Source: Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic
    (ROC) curve" (1982).
    """
    if scores.shape[1] == 1:
        return _ranked(scores[:, 0], labels == 1)
    areas = [_ranked(scores[:, each], labels == each) for each in range(scores.shape[1])]
    there = [area for area in areas if area is not None]
    return float(np.mean(there)) if there else None


def _ranked(scores: FloatArray, positive: NDArray[np.bool_]) -> float | None:
    """The area, from the sum of the positives' ranks (Mann and Whitney's U)."""
    ones = int(positive.sum())
    zeros = len(positive) - ones
    if not ones or not zeros:
        return None
    _, where, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[where]  # equal scores share the mean of their ranks
    u = float(ranks[positive].sum()) - ones * (ones + 1) / 2
    return u / (ones * zeros)
