"""A training job from rows to a model: fit, judge, fit again to everything, export, compare.

1. The rows are cut in event time: `cut_of`.
2. A forerunner is fitted to those before the cut, and judged on those after it: `judge`.
3. The model is fitted to all of them and exported: `fit`, `export`.
4. On every validation row the export must answer what the library answers: `parity`.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from penstock.kernel.accepted import ROWS, accept, hindsight
from penstock.kernel.losses import losses
from penstock.onnx import Model, digest_of
from penstock.trainer.domain import golden_inputs
from penstock.trainer.export import export
from penstock.trainer.fit import fit, prior_of
from penstock.trainer.fitted import Fitted, FloatArray, Prior, Recalibrated
from penstock.trainer.gate import MIN_BLOCKS, Judgement, judge
from penstock.trainer.metrics import quality
from penstock.trainer.parity import golden, parity, real_rows
from penstock.trainer.profile import profile
from penstock.trainer.recalibrate import recalibrate
from penstock.trainer.request import IntArray, Made, Request, Result
from penstock.trainer.split import cut_of
from penstock.trainer.units import gathered, independent, length, numbered


def train(request: Request) -> Result:
    """Do a training job here and now, on one thread; the same request gives the same result.

    Raises:
        Unfit: the rows cannot be learned from.
        ParityFailed: the export is wrong.
        penstock.onnx.Refused: the champion or the export is not what a model may be.
    """
    if (np.diff(request.times) < 0).any():
        raise ValueError("the rows are not in order of event time")
    # 1. cut
    block = length(request.compare, request.times)
    cut = cut_of(request.times, block, champion_cut=request.champion_cut)
    after = slice(cut, None)
    blocks = len(np.unique(request.times[after] // block))
    champion = request.champion if request.recalibrate and blocks < MIN_BLOCKS else None
    # 2. judge
    judgement, metrics = _judged(request, block, cut, champion)
    # 3. everything
    fitted = _learned(request, slice(None), champion)
    artifact = export(fitted)
    model = Model.load(artifact, digest=digest_of(artifact))
    # 4. compare; without validation rows, on the others
    compared = request.rows[after] if blocks else request.rows
    metrics["parity"] = parity(model, compared, fitted.scores(compared), task=request.task)
    return Result(
        artifact=artifact,
        made=_made(request, fitted),
        rows=len(request.rows),
        judgement=judgement,
        metrics=metrics,
        golden=golden(model, [*golden_inputs(request.rows.shape[1]), *real_rows(compared)]),
        profile=profile(request.rows),
    )


def _learned(request: Request, part: slice, champion: bytes | None) -> Fitted:
    """A model of some of the rows: the champion recalibrated where one is given, else a new one."""
    rows, labels = request.rows[part], request.labels[part]
    if champion is not None:
        return recalibrate(champion, request.task, rows, labels)
    return fit(
        request.algorithm,
        request.task,
        rows,
        labels,
        categories=request.categories,
        outputs=request.outputs,
        seed=request.seed,
    )


def _made(request: Request, fitted: Fitted) -> Made:
    match fitted:
        case Prior():
            return "constant"
        case Recalibrated():
            return "recalibrated"
        case _:
            return request.algorithm


def _judged(
    request: Request, block: int, cut: int, champion: bytes | None
) -> tuple[Judgement, dict[str, float]]:
    """What the gate says of a forerunner fitted to the rows before the cut, on those after it."""
    rows, labels, times = request.rows[cut:], request.labels[cut:], request.times[cut:]
    metrics = {"rows": float(len(request.rows)), "validation_rows": float(len(rows))}
    if not len(rows):
        nothing = np.zeros(0)
        return judge(times, block, nothing, constant=nothing), metrics
    scores = _learned(request, slice(cut), champion).scores(rows)
    simplest = prior_of(
        request.task, request.labels[:cut], features=rows.shape[1], outputs=request.outputs
    ).scores(rows)
    mine = losses(request.objective, scores, labels)
    constant = losses(request.objective, simplest, labels)
    beside = None
    # A champion that was made from some of these rows would be flattered by them.
    seen = request.champion_cut is not None and times[0] < request.champion_cut
    if request.champion is not None and not seen:
        beside = losses(request.objective, _answers(request.champion, rows), labels)
    auto = independent(times, mine)
    if request.compare.of == "auto":
        block = auto
    judgement = judge(times, block, mine, constant=constant, champion=beside, seen=seen)
    metrics |= _numbers(judgement) | quality(request.task, scores, labels) | {"unit": float(auto)}
    return judgement, metrics | _claim(request, auto, times, labels, mine)


def _answers(artifact: bytes, rows: FloatArray) -> FloatArray:
    model = Model.load(artifact, digest=digest_of(artifact))
    return model.run(rows.astype(np.float32)).astype(np.float64)


def _numbers(judgement: Judgement) -> dict[str, float]:
    numbers = {"validation_blocks": float(judgement.blocks), "loss": judgement.candidate}
    for name, against in (("constant", judgement.constant), ("champion", judgement.champion)):
        if against is not None:
            told = asdict(against)
            numbers[f"{name}_loss"] = told["other"]
            numbers[f"{name}_difference"] = told["mean"]
            numbers[f"{name}_error"] = told["error"]
    return numbers


def _claim(
    request: Request, auto: int, times: IntArray, labels: FloatArray, mine: FloatArray
) -> dict[str, float]:
    """What the detector of an alarm holds the version to, as metrics; nothing with too little to claim."""
    units = gathered(numbered(request.alarm, times, auto=auto), rows=ROWS)
    sizes = np.bincount(units)
    means, sums = np.bincount(units, weights=mine) / sizes, np.bincount(units, weights=labels)
    excesses = [
        mean - hindsight(request.objective, outputs=request.outputs, rows=size, labels=total)
        for mean, size, total in zip(means.tolist(), sizes.tolist(), sums.tolist(), strict=True)
    ]
    claim = accept(excesses)
    return {} if claim is None else claim.metrics()
