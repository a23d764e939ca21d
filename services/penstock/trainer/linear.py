"""Logistic regression on a design made inside the model: standardised numbers, one-hot categories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # it ships no types

from penstock.kernel.policy import Task
from penstock.trainer.design import Design
from penstock.trainer.fitted import FloatArray, Head, Linear
from penstock.trainer.refusals import Unfit
from penstock.trainer.threads import one_thread

STEPS = 500


def logistic(
    task: Task, rows: FloatArray, labels: FloatArray, *, categories: Sequence[int], outputs: int, seed: int
) -> Linear:
    """Fit a logistic regression, with a squared penalty of strength 1 on the standardised weights.

    Args:
        task: binary or multiclass.
        rows: float64 ``[n, F]``, NaN = missing.
        labels: float64 ``[n]``, at least two classes among them.
        categories: per feature, the words of its dictionary; 0 for a number.
        outputs: K.
        seed: unused by the solver, which has no chance in it; given all the same.

    Raises:
        Unfit: for a regression.
    """
    if task == "regression":
        raise Unfit("a logistic regression has classes, and the task is a regression")
    design = Design.of(rows, categories)
    with one_thread():
        model = LogisticRegression(C=1.0, solver="lbfgs", max_iter=STEPS, random_state=seed)
        matrix = design.matrix(rows)
        model.fit(matrix, labels)
    weights, intercept = model.coef_.T, model.intercept_
    present = tuple(model.classes_.astype(int).tolist())
    if task == "multiclass" and len(present) == 2:  # noqa: PLR2004 - for two classes the library keeps one column
        weights = np.concatenate([np.zeros_like(weights), weights], axis=1)
        intercept = np.concatenate([[0.0], intercept])
    return Linear(
        model=model,
        design=design,
        weights=np.asarray(weights, dtype=np.float64),
        intercept=np.asarray(intercept, dtype=np.float64),
        means=design.by_feature(matrix.mean(axis=0)[:, None] * weights, features=rows.shape[1]),
        head=Head(
            link="sigmoid" if task == "binary" else "softmax",
            places=(0,) if task == "binary" else present,
            outputs=outputs,
        ),
        features=rows.shape[1],
    )
