"""How good the answers were, predicted first and judged later: the system beside what it is held against.

All on the same rows: those with a label that the first trained version had scored, so from the moment on at
which there was something to choose between. That version stays a shadow to the end, for this comparison.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from penstock.contracts.records import Origin, Outcome, OutcomeKind
from penstock.kernel.losses import log_loss
from penstock.kernel.metrics import auc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

LABELLED = frozenset({OutcomeKind.LABELLED, OutcomeKind.REVISED})
_DIGITS = 6


class Row(NamedTuple):
    """A row of the stream with its last label in time; instants in milliseconds."""

    time: int
    label: float
    label_time: int
    version: int | None
    """That answered."""
    scores: Mapping[int, float]
    """By version: the first value of those that have one."""


@dataclass(slots=True)
class Judged:
    """The rows that have a label, gathered outcome by outcome; of an id the last one counts."""

    rows: dict[str, Row] = field(default_factory=dict)

    def became(self, outcome: Outcome) -> None:
        """Take in an outcome."""
        if outcome.kind not in LABELLED or outcome.origin is not Origin.STREAM:
            return
        if outcome.label is None or outcome.label_time is None:
            return
        self.rows[outcome.id] = Row(
            time=outcome.time,
            label=outcome.label,
            label_time=outcome.label_time,
            version=outcome.version,
            scores={score.version: score.values[0] for score in outcome.scores if score.values},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Log loss and area under the ROC curve, each of `system`, `static`, `prior` and `baseline`.

    The system is whichever version answered, static the first trained version, prior the share of positives
    among the labels known when the row came, baseline version 0.
    """

    rows: int
    log_loss: Mapping[str, float | None]
    auc: Mapping[str, float | None]


def quality(rows: Iterable[Row], *, static: int | None) -> Quality:
    """How good everybody was.

    Args:
        rows: all that have a label.
        static: the first trained version; None where there was none.

    >>> rows = [Row(10, 1.0, 15, 2, {0: 0.5, 1: 0.6, 2: 0.9}), Row(20, 0.0, 25, 2, {0: 0.5, 1: 0.6, 2: 0.2})]
    >>> quality(rows, static=1).log_loss
    {'system': 0.164252, 'static': 0.713558, 'prior': 0.89588, 'baseline': 0.693147}
    """
    every = sorted(rows, key=lambda row: row.time)
    known = running_rate(every)
    chosen = [
        (row, rate)
        for row, rate in zip(every, known, strict=True)
        if static in row.scores and row.version in row.scores
    ]
    labels = np.array([row.label for row, _ in chosen])
    said = {
        "system": [row.scores[_number(row.version)] for row, _ in chosen],
        "static": [row.scores[_number(static)] for row, _ in chosen],
        "prior": [rate for _, rate in chosen],
        "baseline": [row.scores.get(0, rate) for row, rate in chosen],
    }
    scores = {name: np.array(values).reshape(-1, 1) for name, values in said.items()}
    return Quality(
        rows=len(chosen),
        log_loss={name: _mean(log_loss(each, labels)) for name, each in scores.items()},
        auc={name: _rounded(auc(each, labels)) for name, each in scores.items()},
    )


def running_rate(rows: Sequence[Row]) -> list[float]:
    """For each row the share of positives among the labels known by then, of one more of each kind.

    Source: Laplace's rule of succession, Essai philosophique sur les probabilités (1814).
    """
    told = sorted((row.label_time, row.label) for row in rows)
    times = np.array([time for time, _ in told], dtype=np.int64)
    sums = np.concatenate([[0.0], np.cumsum([label for _, label in told])])
    places = np.searchsorted(times, [row.time for row in rows], side="right")
    rates: list[float] = ((sums[places] + 1) / (places + 2)).tolist()
    return rates


def _number(version: int | None) -> int:
    return -1 if version is None else version


def _mean(losses: FloatArray) -> float | None:
    return _rounded(float(losses.mean())) if len(losses) else None


def _rounded(value: float | None) -> Any:
    return None if value is None else round(value, _DIGITS)
