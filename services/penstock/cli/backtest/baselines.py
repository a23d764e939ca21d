"""What one gets without a model: the prior, and the last label, each as known when the row arrived."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from penstock.cli.backtest.feed import Arrival

    FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """By row number.

    Args:
        prior: scores of the constant model of the labels known so far, shape (rows, outputs).
        last: the last label known, shape (rows,); before the first one class 0, or the value 0.
    """

    prior: FloatArray
    last: FloatArray


def baselines(fed: Sequence[Arrival], *, task: str, outputs: int) -> Baselines:
    """Walk through the history as it was fed.

    The prior of a class is (its labels + 1) / (all labels + classes), of a number the mean.

    Args:
        fed: in order.
        task: binary, multiclass or regression.
        outputs: scores a row.

    Source: Laplace's rule of succession, Essai philosophique sur les probabilités (1814).
    """
    count = sum(each.row >= 0 for each in fed)
    prior, last = np.zeros((count, outputs)), np.zeros(count)
    classes = max(outputs, 2)
    counts = np.zeros(classes)
    known, total, latest = 0, 0.0, 0.0
    for each in fed:
        if each.told is not None:
            latest = each.told.label
            known += 1
            total += latest
            if task == "multiclass":
                counts[int(latest)] += 1
        else:
            last[each.row] = latest
            match task:
                case "binary":
                    prior[each.row, 0] = (total + 1) / (known + classes)
                case "multiclass":
                    prior[each.row] = (counts + 1) / (known + classes)
                case _:
                    prior[each.row, 0] = total / known if known else 0.0
    return Baselines(prior=prior, last=last)
