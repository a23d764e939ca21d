"""A challenger for when rows are few: the champion itself, its scores set right on them."""

from __future__ import annotations

import numpy as np

from penstock.kernel.policy import Task
from penstock.onnx import Model, digest_of
from penstock.trainer.calibration import calibrate
from penstock.trainer.fitted import FloatArray, Recalibrated
from penstock.trainer.refusals import Unfit


def recalibrate(champion: bytes, task: Task, rows: FloatArray, labels: FloatArray) -> Recalibrated:
    """The champion with a calibration fitted to labelled rows.

    Args:
        champion: its ONNX file, which is trusted by now.
        task: what its scores are.
        rows: float64 ``[n, F]``.
        labels: float64 ``[n]``.

    Raises:
        Unfit: there are no rows, or the champion has other inputs.

    >>> from penstock.trainer.export import constant
    >>> labels = np.repeat([1.0, 0.0], [80, 20])
    >>> better = recalibrate(constant(1, [0.5]), "binary", np.zeros((100, 1)), labels)
    >>> better.scores(np.zeros((1, 1))).round(2)
    array([[0.79]])
    """
    if not len(rows):
        raise Unfit("there are no rows")
    model = Model.load(champion, digest=digest_of(champion))
    if model.features != rows.shape[1]:
        raise Unfit(f"the champion has {model.features} features, the rows have {rows.shape[1]}")
    scores = model.run(rows.astype(np.float32)).astype(np.float64)
    return Recalibrated(champion=champion, model=model, calibration=calibrate(task, scores, labels))
