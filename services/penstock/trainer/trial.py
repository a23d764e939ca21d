"""A forerunner on trial: fitted to the first rows, judged on later ones that neither it nor the champion saw.

After an alarm the question is another one. What is there fails since the onset, so only rows since then can
judge. The whole window of the lane is learned from, which is right where the features can tell the new world
from the old, and where the alarm was none; what came since the onset alone only where it is clearly better on
blocks enough to say so. With too few blocks to judge anything, the champion is recalibrated instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from penstock.kernel.accepted import ROWS, LabelSums, accept, hindsight
from penstock.kernel.losses import losses
from penstock.onnx import Model, digest_of
from penstock.trainer.fit import fit, prior_of
from penstock.trainer.fitted import Fitted, FloatArray
from penstock.trainer.gate import (
    MIN_BLOCKS,
    STANDARD_ERRORS,
    Judgement,
    difference,
    judge,
    number_blocks,
)
from penstock.trainer.metrics import quality
from penstock.trainer.recalibrate import recalibrate
from penstock.trainer.request import IntArray, Request
from penstock.trainer.split import cut_of
from penstock.trainer.units import gathered, independent, length, numbered

MOST_SINCE_ONSET = 5_000
"""Rows: with more of them the whole window says as much (measured on streams that change at once)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """How a forerunner was made, and what the gate says of it.

    Args:
        first: the first row that is learned from.
        cut: the first row that judges; the number of rows where none does.
        block: of the gate, milliseconds.
        champion: the artifact that is recalibrated; None for a new model.
        judgement: of the gate.
        metrics: numbers by name, finite.
        losses: of the forerunner on the rows that judge.
    """

    first: int
    cut: int
    block: int
    champion: bytes | None
    judgement: Judgement
    metrics: Mapping[str, float]
    losses: FloatArray

    def learn(self, request: Request, part: slice) -> Fitted:
        """A model of some of the rows, made the same way."""
        return _learned(request, part, self.champion)


def tried(request: Request) -> Trial:
    """Cut the rows, and try what is to be made on the last of them."""
    if request.onset is None:
        block = length(request.compare, request.times)
        cut = cut_of(request.times, block, champion_cut=request.champion_cut)
        return _judged(request, first=0, cut=cut, block=block, champion=None)
    onset = int(np.searchsorted(request.times, request.onset))
    since = request.times[onset:]
    block = length(request.alarm, since)
    cut = onset + cut_of(since, block)
    blocks = len(np.unique(request.times[cut:] // block))
    if blocks < MIN_BLOCKS and request.champion is not None:
        return _judged(request, first=onset, cut=cut, block=block, champion=request.champion)
    whole = _judged(request, first=0, cut=cut, block=block, champion=None)
    first = max(onset, len(request.times) - MOST_SINCE_ONSET)
    compare = number_blocks(request.times[cut:], length(request.compare, request.times))
    if not 0 < first < cut or len(np.unique(compare)) < MIN_BLOCKS:
        return whole
    alone = _judged(request, first=first, cut=cut, block=block, champion=None)
    apart = difference(number_blocks(request.times[cut:], block), whole.losses, alone.losses)
    best = alone if apart.harm() else whole
    return replace(best, metrics={**best.metrics, "since_onset": float(best is alone)})


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


def _judged(request: Request, *, first: int, cut: int, block: int, champion: bytes | None) -> Trial:
    """What the gate says of a forerunner fitted to the rows before the cut, on those after it."""
    rows, labels, times = request.rows[cut:], request.labels[cut:], request.times[cut:]
    metrics = {"rows": float(len(request.rows) - first), "validation_rows": float(len(rows))}
    if not len(rows):
        nothing = np.zeros(0)
        judgement = judge(times, block, nothing, constant=nothing)
        return Trial(
            first=first,
            cut=cut,
            block=block,
            champion=champion,
            judgement=judgement,
            metrics=metrics,
            losses=nothing,
        )
    before = slice(first, cut)
    scores = _learned(request, before, champion).scores(rows)
    simplest = prior_of(
        request.task, request.labels[before], features=rows.shape[1], outputs=request.outputs
    ).scores(rows)
    mine = losses(request.objective, scores, labels)
    constant = losses(request.objective, simplest, labels)
    beside = None
    # A champion that was made from some of these rows would be flattered by them.
    seen = request.champion_cut is not None and times[0] < request.champion_cut
    if request.champion is not None and not seen:
        beside = losses(request.objective, _answers(request.champion, rows), labels)
    auto = independent(times, mine)
    unit = request.compare if request.onset is None else request.alarm
    if unit.of == "auto":
        block = auto
    errors = STANDARD_ERRORS if request.onset is None else 0.0
    judgement = judge(times, block, mine, constant=constant, champion=beside, seen=seen, errors=errors)
    metrics |= _numbers(judgement) | quality(request.task, scores, labels) | {"unit": float(auto)}
    metrics |= _claim(request, auto, times, labels, mine)
    return Trial(
        first=first,
        cut=cut,
        block=block,
        champion=champion,
        judgement=judgement,
        metrics=metrics,
        losses=mine,
    )


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
    means = np.bincount(units, weights=mine) / np.bincount(units)
    classes = request.outputs if request.task == "multiclass" else 0
    parts = np.split(labels, np.flatnonzero(np.diff(units)) + 1)
    excesses = [
        mean - hindsight(request.objective, LabelSums.of(part.tolist(), classes=classes))
        for mean, part in zip(means.tolist(), parts, strict=True)
    ]
    claim = accept(excesses)
    return {} if claim is None else claim.metrics()
