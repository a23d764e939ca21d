"""Losses: how wrong a score was, once the label is known. One value per row, smaller is better.

Scores have shape (rows, outputs): one output for binary (probability of the positive) and regression, one per
class for multiclass. Labels have shape (rows,), as `make_label` makes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from penstock.kernel.policy import Objective

    FloatArray = NDArray[np.float64]

# Models answer in float32, so a probability closer to 0 or 1 than its spacing is the rounding's doing: it is
# clipped there, and the greatest loss is 15.94.
# Source: scikit-learn's log_loss since 1.3, eps = np.finfo(y_pred.dtype).eps.
EPSILON: Final = float(np.finfo(np.float32).eps)


def log_loss(scores: FloatArray, labels: FloatArray) -> FloatArray:
    r"""Logarithmic loss, $-\ln p_y$, of the probability that was given to what happened.

    >>> log_loss(np.array([[0.5], [0.0]]), np.array([1.0, 1.0])).round(3)
    array([ 0.693, 15.942])

    Source: Good, "Rational decisions" (1952).
    """
    if scores.shape[1] == 1:
        happened = np.where(labels == 1, scores[:, 0], 1 - scores[:, 0])
    else:
        happened = scores[np.arange(len(scores)), labels.astype(np.intp)]
    surprise: FloatArray = -np.log(np.clip(happened, EPSILON, 1 - EPSILON))
    return surprise


def brier(scores: FloatArray, labels: FloatArray) -> FloatArray:
    r"""Brier score: $(p - y)^2$ for binary, in [0, 1]; $\sum_k (p_k - 1[y = k])^2$ for multiclass, in [0, 2].

    >>> brier(np.array([[0.25]]), np.array([1.0])), brier(np.array([[0.5, 0.5, 0.0]]), np.array([2.0]))
    (array([0.5625]), array([1.5]))

    Source: Brier, "Verification of forecasts expressed in terms of probability" (1950); for two classes half
    of it, as is usual since.
    """
    if scores.shape[1] == 1:
        return np.square(scores[:, 0] - labels)
    happened = np.arange(scores.shape[1]) == labels[:, None]
    squares: FloatArray = np.square(scores - happened).sum(axis=1)
    return squares


def squared_error(scores: FloatArray, labels: FloatArray) -> FloatArray:
    """Squared error, in the square of the label's unit.

    >>> squared_error(np.array([[3.0]]), np.array([5.0]))
    array([4.])
    """
    return np.square(scores[:, 0] - labels)


_LOSSES: Final[dict[str, Callable[[FloatArray, FloatArray], FloatArray]]] = {
    "log_loss": log_loss,
    "brier": brier,
    "squared_error": squared_error,
}


def losses(objective: Objective, scores: ArrayLike, labels: ArrayLike) -> FloatArray:
    """The loss of every row of a batch, by the pipeline's objective.

    Args:
        objective: which loss.
        scores: shape (rows, outputs).
        labels: shape (rows,).

    >>> losses("brier", [[0.25], [1.0]], [1.0, 1.0])
    array([0.5625, 0.    ])
    """
    return _LOSSES[objective](np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64))
