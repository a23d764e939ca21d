"""Learn from labelled rows: the same rows and the same seed give the same model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from penstock.kernel.policy import Algorithm, Task
from penstock.trainer.boosting import boost
from penstock.trainer.fitted import Fitted, FloatArray, Prior
from penstock.trainer.linear import logistic
from penstock.trainer.refusals import Unfit


def fit(
    algorithm: Algorithm,
    task: Task,
    rows: FloatArray,
    labels: FloatArray,
    *,
    categories: Sequence[int],
    outputs: int,
    seed: int,
) -> Fitted:
    """Fit a model to labelled rows, on one thread.

    Where the labels are all of one class, or nothing tells the rows apart, it is a `Prior`. A class that does
    not occur gets probability 0 from a model of the others.

    Args:
        algorithm: what to fit.
        task: what the labels are.
        rows: float64 ``[n, F]``, float32-representable, NaN = missing, finite otherwise.
        labels: float64 ``[n]``: 0 or 1, the place of a class, or a value.
        categories: per feature, how many words its dictionary has (code 0 = none of them); 0 for a number.
        outputs: K, 1 or the number of classes.
        seed: any number; what counts is the rest of it by 2³².

    Raises:
        Unfit: there are no rows, a value is not one a model can get, a label is none of the task's, or the
            algorithm has no form for the task.

    >>> rows, labels = np.zeros((2, 1)), np.ones(2)
    >>> fit("hist_gradient_boosting", "binary", rows, labels, categories=[0], outputs=1, seed=0)
    Prior(answer=(0.75,), features=1)
    """
    _demand_rows(rows, labels, features=len(categories))
    _demand_labels(task, labels, outputs=outputs)
    if algorithm == "logistic_regression" and task == "regression":
        raise Unfit("a logistic regression has classes, and the task is a regression")
    if task != "regression" and (labels == labels[0]).all():
        return prior_of(task, labels, features=rows.shape[1], outputs=outputs)
    match algorithm:
        case "hist_gradient_boosting":
            return boost(task, rows, labels, outputs=outputs, seed=seed % 2**32)
        case "logistic_regression":
            return logistic(task, rows, labels, categories=categories, outputs=outputs, seed=seed % 2**32)


def prior_of(task: Task, labels: FloatArray, *, features: int, outputs: int) -> Prior:
    """The constant that labels alone make: their mean, or the shares of the classes, one more row of each.

    >>> prior_of("multiclass", np.array([0.0, 0.0]), features=1, outputs=3).answer
    (0.6, 0.2, 0.2)

    Source: Laplace's rule of succession, Théorie analytique des probabilités (1812).
    """
    if task == "regression":
        return Prior(answer=(float(labels.mean()),), features=features)
    classes = 2 if task == "binary" else outputs
    counts = np.bincount(labels.astype(np.int64), minlength=classes) + 1.0
    shares = counts / counts.sum()
    return Prior(answer=tuple((shares[1:] if task == "binary" else shares).tolist()), features=features)


def _demand_rows(rows: FloatArray, labels: FloatArray, *, features: int) -> None:
    if rows.shape != (len(labels), features):
        raise ValueError(f"rows of shape {rows.shape} for {len(labels)} labels and {features} features")
    if not len(rows):
        raise Unfit("there are no rows")
    if not features:
        raise Unfit("there are no features")
    with np.errstate(over="ignore"):
        single = rows.astype(np.float32)
    wrong = ~((single == rows) | np.isnan(rows)) | np.isinf(single)
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        raise Unfit(f"feature {column} of row {row} is {rows[row, column]}, which no float32 holds")


def _demand_labels(task: Task, labels: FloatArray, *, outputs: int) -> None:
    classes = {"binary": 2, "multiclass": outputs, "regression": 0}[task]
    allowed = np.isfinite(labels)
    if task != "regression":
        with np.errstate(invalid="ignore"):
            allowed &= (labels >= 0) & (labels < classes) & (labels == np.floor(labels))
    if not allowed.all():
        row = int(np.flatnonzero(~allowed)[0])
        kind = f"one of {classes} classes" if classes else "a number"
        raise Unfit(f"the label of row {row} is {labels[row]}, expected {kind}")
