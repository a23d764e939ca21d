"""The gate of an export: on every validation row, the file must answer what the library answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penstock.kernel.policy import Task
from penstock.onnx import Model
from penstock.trainer.refusals import ParityFailed

FloatArray = NDArray[np.float64]

TOLERANCE = 1e-5
"""Of a probability, and of the greatest value a regression gives: float32 sums of 100 trees are ten times
closer, and the exports that were wrong were off by .1 and more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A golden vector: an input, and what the version must answer wherever it is loaded."""

    features: tuple[float, ...]
    scores: tuple[float, ...]


def parity(model: Model, rows: FloatArray, expected: FloatArray, *, task: Task) -> float:
    """The largest difference between the file's scores and the library's; in a regression, relative.

    Args:
        model: the export, loaded.
        rows: float64 ``[n, F]``, all of the validation rows.
        expected: the library's scores of them, float64 ``[n, K]``.
        task: what the scores are.

    Raises:
        ParityFailed: it is more than `TOLERANCE`.
    """
    found = model.run(rows.astype(np.float32)).astype(np.float64)
    if found.shape != expected.shape:
        raise ParityFailed(f"the export gives scores of shape {found.shape}, expected {expected.shape}")
    if not len(rows):
        return 0.0
    differences = np.abs(found - expected).max(axis=1)
    if task == "regression":
        differences = differences / max(float(np.abs(expected).max()), float(np.finfo(np.float32).tiny))
    worst = int(np.argmax(np.where(np.isnan(differences), np.inf, differences)))
    # Not a number is no parity either.
    if not (differences <= TOLERANCE).all():
        raise ParityFailed(
            f"row {worst} of {len(rows)} scores {found[worst].tolist()}, the library says"
            f" {expected[worst].tolist()}: the export is wrong"
        )
    return float(differences[worst])


def real_rows(rows: FloatArray) -> list[tuple[float, ...]]:
    """A few rows for golden vectors: first, middle and last, and the one with most values missing.

    >>> real_rows(np.array([[1.0], [np.nan], [2.0], [3.0]]))
    [(1.0,), (nan,), (2.0,), (3.0,)]
    """
    if not len(rows):
        return []
    places = {0, len(rows) // 2, len(rows) - 1, int(np.argmax(np.isnan(rows).sum(axis=1)))}
    return [tuple(rows[place].tolist()) for place in sorted(places)]


def golden(model: Model, inputs: list[tuple[float, ...]]) -> tuple[Answer, ...]:
    """What the file answers here, so that every other place can compare."""
    answers = model.run(np.array(inputs, dtype=np.float32)).tolist()
    return tuple(
        Answer(features=given, scores=tuple(answer)) for given, answer in zip(inputs, answers, strict=True)
    )
