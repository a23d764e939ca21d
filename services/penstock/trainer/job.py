"""A training job from rows to a model: fit, judge, fit again to everything, export, compare.

1. The rows are cut in event time.
2. A forerunner is fitted to those before the cut, and judged on those after it: `tried`.
3. The model is fitted to all of them and exported: `fit`, `export`.
4. On every validation row the export must answer what the library answers: `parity`.
"""

from __future__ import annotations

import numpy as np

from penstock.onnx import Model, digest_of
from penstock.trainer.domain import golden_inputs
from penstock.trainer.export import export
from penstock.trainer.fitted import Fitted, Prior, Recalibrated
from penstock.trainer.parity import golden, parity, real_rows
from penstock.trainer.profile import profile
from penstock.trainer.request import Made, Request, Result
from penstock.trainer.trial import tried


def train(request: Request) -> Result:
    """Do a training job here and now, on one thread; the same request gives the same result.

    Raises:
        Unfit: the rows cannot be learned from.
        ParityFailed: the export is wrong.
        penstock.onnx.Refused: the champion or the export is not what a model may be.
    """
    if (np.diff(request.times) < 0).any():
        raise ValueError("the rows are not in order of event time")
    trial = tried(request)  # 1. 2.
    # 3. everything
    fitted = trial.learn(request, slice(trial.first, None))
    artifact = export(fitted)
    model = Model.load(artifact, digest=digest_of(artifact))
    # 4. compare; without validation rows, on the others
    after = request.rows[trial.cut :]
    compared = after if len(after) else request.rows
    metrics = dict(trial.metrics)
    metrics["parity"] = parity(model, compared, fitted.scores(compared), task=request.task)
    used = request.rows[trial.first :]
    return Result(
        artifact=artifact,
        made=_made(request, fitted),
        rows=len(used),
        judgement=trial.judgement,
        metrics=metrics,
        golden=golden(model, [*golden_inputs(request.rows.shape[1]), *real_rows(compared)]),
        profile=profile(used),
    )


def _made(request: Request, fitted: Fitted) -> Made:
    match fitted:
        case Prior():
            return "constant"
        case Recalibrated():
            return "recalibrated"
        case _:
            return request.algorithm
