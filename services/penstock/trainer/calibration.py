"""Set a model's scores right on labelled rows, without a new model: one slope, and one shift per class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penstock.kernel.losses import EPSILON
from penstock.kernel.policy import Task

FloatArray = NDArray[np.float64]

STEPS = 50
"""Newton's method is there in under ten; a bound for what does not come to rest."""
STILL = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    r"""Scores to better scores.

    Binary: $\sigma(a \operatorname{logit} p + b)$. Multiclass: $\operatorname{softmax}(a \ln p + b)$, one b
    per class. Regression: $a y + b$. Probabilities are kept `EPSILON` away from 0 and 1 first.

    Args:
        task: what the scores are.
        slope: a.
        shifts: b, one per output.
    """

    task: Task
    slope: float
    shifts: tuple[float, ...]

    def apply(self, scores: FloatArray) -> FloatArray:
        """Scores of shape (n, outputs) to such scores.

        >>> Calibration(task="binary", slope=1.0, shifts=(0.0,)).apply(np.array([[0.25]]))
        array([[0.25]])
        """
        raw: FloatArray = self.slope * evidence(self.task, scores) + np.array(self.shifts)
        match self.task:
            case "binary":
                return sigmoid(raw)
            case "multiclass":
                return softmax(raw)
            case "regression":
                return raw


def evidence(task: Task, scores: FloatArray) -> FloatArray:
    """What a calibration is linear in: logits, logarithms of probabilities, or values."""
    if task == "regression":
        return scores
    clipped = np.clip(scores, EPSILON, 1 - EPSILON)
    return np.log(clipped / (1 - clipped)) if task == "binary" else np.log(clipped)


def calibrate(task: Task, scores: FloatArray, labels: FloatArray) -> Calibration:
    """Fit a calibration to the scores of labelled rows.

    It is the most probable one where a slope of 1 and shifts of 0 at the mean score are expected, with a
    standard deviation of 1 each: few rows change little, and rows of one class alone do not run away.

    Args:
        task: what the scores are.
        scores: the model's, float64 ``[n, K]``.
        labels: float64 ``[n]``.

    >>> always = calibrate("binary", np.full((100, 1), 0.5), np.repeat([1.0, 0.0], [80, 20]))
    >>> always.apply(np.array([[0.5]])).round(2)
    array([[0.79]])

    Source: Platt, "Probabilistic outputs for support vector machines" (1999); for classes Guo et al., "On
    calibration of modern neural networks" (2017), temperature and bias.
    """
    if not len(labels):
        return Calibration(task=task, slope=1.0, shifts=(0.0,) * scores.shape[1])
    if task == "regression":
        return _line(scores[:, 0], labels)
    values = evidence(task, scores)
    # Binary is the softmax over (0, logit): one shift is enough for two classes.
    columns = np.stack([np.zeros(len(values)), values[:, 0]], axis=1) if task == "binary" else values
    free = columns.shape[1] - 1 if task == "binary" else columns.shape[1]
    slope, shifts = _most_probable(columns, labels.astype(np.int64), free)
    return Calibration(task=task, slope=slope, shifts=tuple(shifts))


def sigmoid(raw: FloatArray) -> FloatArray:
    """The logistic function, exact at both ends.

    >>> sigmoid(np.array([-800.0, 0.0]))
    array([0. , 0.5])
    """
    small = np.exp(-np.abs(raw))
    return np.where(raw >= 0, 1 / (1 + small), small / (1 + small))


def softmax(raw: FloatArray) -> FloatArray:
    """Shape (n, classes) to probabilities that sum to 1.

    >>> softmax(np.array([[1000.0, 1000.0]]))
    array([[0.5, 0.5]])
    """
    weights = np.exp(raw - raw.max(axis=1, keepdims=True))
    probabilities: FloatArray = weights / weights.sum(axis=1, keepdims=True)
    return probabilities


def _most_probable(columns: FloatArray, labels: NDArray[np.int64], free: int) -> tuple[float, list[float]]:
    """Slope, and shifts of the last `free` columns, by Newton's method with halved steps; it is convex.

    The slope turns about the columns' means, so that what is expected of it says nothing about the level.
    """
    classes = columns.shape[1]
    happened = np.arange(classes) == labels[:, None]
    expected = np.concatenate([[1.0], np.zeros(free)])
    padding = np.zeros(classes - free)
    middle = columns.mean(axis=0)
    columns = columns - middle

    def raw(guess: FloatArray) -> FloatArray:
        values: FloatArray = guess[0] * columns + middle + np.concatenate([padding, guess[1:]])
        return values

    def surprise(guess: FloatArray) -> float:
        values = raw(guess)
        top = values.max(axis=1)
        total = top + np.log(np.exp(values - top[:, None]).sum(axis=1))
        return float((total - values[happened]).sum() + 0.5 * np.square(guess - expected).sum())

    guess, before = expected, surprise(expected)
    for _ in range(STEPS):
        p = softmax(raw(guess))
        mean = (p * columns).sum(axis=1, keepdims=True)
        off = (p - happened)[:, classes - free :]
        gradient = np.concatenate([[((p - happened) * columns).sum()], off.sum(axis=0)]) + guess - expected
        q = p[:, classes - free :]
        curvature = np.eye(free + 1)
        curvature[0, 0] += (p * np.square(columns - mean)).sum()
        curvature[0, 1:] += (q * (columns[:, classes - free :] - mean)).sum(axis=0)
        curvature[1:, 0] = curvature[0, 1:]
        curvature[1:, 1:] += np.diag(q.sum(axis=0)) - q.T @ q
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while (after := surprise(guess - size * step)) > before and size > STILL:
            size /= 2
        if before - after <= STILL * max(1.0, abs(before)):
            break
        guess, before = guess - size * step, after
    level = (1 - guess[0]) * middle[classes - free :]
    return float(guess[0]), (guess[1:] + level).tolist()


def _line(scores: FloatArray, labels: FloatArray) -> Calibration:
    """Least squares, with one row's worth of belief in a slope of 1."""
    middle, level = scores.mean(), labels.mean()
    spread = np.square(scores - middle).mean()
    together = ((scores - middle) * (labels - level)).sum()
    slope = (together + spread) / (len(scores) * spread + spread) if spread > 0 else 1.0
    return Calibration(task="regression", slope=float(slope), shifts=(float(level - slope * middle),))
