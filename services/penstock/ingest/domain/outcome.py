"""Verdicts as outcomes: what each version had said, and what that cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from penstock.contracts.records import JudgedScore, Outcome, OutcomeKind, Prediction
from penstock.ingest.domain.join import Verdict
from penstock.kernel.losses import losses
from penstock.kernel.policy import Objective

_JUDGED = (OutcomeKind.LABELLED, OutcomeKind.REVISED)


def outcomes(
    objective: Objective, predictions: Sequence[Prediction], verdicts: Sequence[Verdict]
) -> list[Outcome]:
    """One outcome per verdict; a loss for each version that gave a score, where the label was in time."""
    costs = _losses(objective, predictions, verdicts)
    return [
        Outcome(
            id=prediction.id,
            origin=prediction.origin,
            kind=verdict.kind,
            time=prediction.time,
            label=None if verdict.label is None else verdict.label.label,
            label_time=None if verdict.label is None else verdict.label.time,
            epoch=prediction.epoch,
            version=prediction.version,
            role=prediction.role,
            scores=tuple(
                JudgedScore(version=score.version, values=score.values, loss=costs.get((row, place)))
                for place, score in enumerate(prediction.scores)
            ),
        )
        for row, (prediction, verdict) in enumerate(zip(predictions, verdicts, strict=True))
    ]


def _losses(
    objective: Objective, predictions: Sequence[Prediction], verdicts: Sequence[Verdict]
) -> dict[tuple[int, int], float]:
    """Losses by (verdict, place of the score), computed at once for all scores of one width."""
    places: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for row, (prediction, verdict) in enumerate(zip(predictions, verdicts, strict=True)):
        if verdict.kind in _JUDGED:
            for place, score in enumerate(prediction.scores):
                places[len(score.values)].append((row, place))
    places.pop(0, None)
    costs: dict[tuple[int, int], float] = {}
    for where in places.values():
        values = [predictions[row].scores[place].values for row, place in where]
        labels = [label.label for row, _ in where if (label := verdicts[row].label) is not None]
        costs.update(zip(where, losses(objective, values, labels).tolist(), strict=True))
    return costs
