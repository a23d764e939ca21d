"""What a training job is asked, and what comes of it: data alone, for whoever asks and whoever trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from penstock.kernel.policy import Algorithm, Objective, Task
from penstock.kernel.units import EvidenceUnit
from penstock.trainer.gate import Judgement
from penstock.trainer.parity import Answer
from penstock.trainer.profile import Profile

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Made = Literal["constant", "hist_gradient_boosting", "logistic_regression", "recalibrated"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """A training job; its result is a function of it.

    Args:
        algorithm: what is fitted.
        task: what the labels are.
        categories: per feature, the words of its dictionary (code 0 = none of them); 0 for a number.
        outputs: K.
        objective: the loss that is judged by.
        rows: float64 ``[n, F]``, float32-representable, NaN = missing, in order of event time.
        labels: float64 ``[n]``.
        times: event times, milliseconds, int64 ``[n]``, not decreasing.
        compare: the unit that the gate judges by.
        alarm: the unit that the accepted loss is claimed for.
        seed: any number.
        champion: the champion's ONNX file, which was checked when it was registered; None without one.
        champion_cut: event time where the rows end that the champion was made from.
        onset: event time since which the champion most likely fails, where an alarm led to this: what is made
            has to be better on rows since then.
    """

    algorithm: Algorithm
    task: Task
    categories: tuple[int, ...]
    outputs: int
    objective: Objective
    rows: FloatArray
    labels: FloatArray
    times: IntArray
    compare: EvidenceUnit
    alarm: EvidenceUnit
    seed: int
    champion: bytes | None = None
    champion_cut: int | None = None
    onset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A model, and what is known of it.

    Args:
        artifact: the ONNX file, made from all the rows, whatever the gate says.
        made: what it is; constant where the rows gave no more.
        rows: how many it was made from.
        judgement: of the gate on its forerunner, which was fitted to the first rows alone.
        metrics: numbers by name, finite.
        golden: inputs and the file's answers.
        profile: of all the rows.
    """

    artifact: bytes
    made: Made
    rows: int
    judgement: Judgement
    metrics: Mapping[str, float]
    golden: tuple[Answer, ...]
    profile: Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """There is no model.

    Args:
        reason: a word to filter by: ``unfit`` (the rows cannot be learned from), ``parity`` (the export is
            wrong), ``refused`` (the champion or the export is not what a model may be), ``died`` or ``late``.
        message: one line for a person.
    """

    reason: str
    message: str
