"""What a backtest says: metrics beside the baselines, and what was decided at which row."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from penstock.cli.times import iso, iso_or_none
from penstock.contracts import records as r
from penstock.kernel.losses import log_loss, squared_error
from penstock.kernel.metrics import accuracy, answers, auc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from penstock.cli.backtest.baselines import Baselines
    from penstock.cli.backtest.drive import Ran
    from penstock.kernel.pipeline import Pipeline

    FloatArray = NDArray[np.float64]
    Metrics = Mapping[str, float | None]

_DIGITS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of a backtest.

    Args:
        pipeline: that was tried.
        rows: of the history.
        scored: that the metrics rest on: answered, with a label, from where the scoring begins.
        seconds: of wall time.
        metrics: of the system, the first trained version, the prior and the last label.
        decisions: one line each, with the row at which it was taken.
        alarms: rows at which the champion was said to fail.
        versions: one line each.
        lanes: one line each.
        letters: why records could not be processed.
    """

    pipeline: str
    rows: int
    scored: int
    seconds: float
    metrics: Mapping[str, Metrics]
    decisions: Sequence[Mapping[str, Any]]
    alarms: Sequence[int]
    versions: Sequence[Mapping[str, Any]]
    lanes: Sequence[Mapping[str, Any]]
    letters: Sequence[str] = ()

    def rows_of(self, kind: type[object]) -> list[int]:
        """At which rows decisions of a kind were taken."""
        return [line["row"] for line in self.decisions if line["type"] == kind.__name__]

    def as_object(self) -> dict[str, Any]:
        """For programs."""
        return {
            "rows": self.rows,
            "scored": self.scored,
            "seconds": round(self.seconds, 2),
            "metrics": self.metrics,
            "retrains": self.rows_of(r.RetrainRequested),
            "promotions": self.rows_of(r.Promoted),
            "rollbacks": self.rows_of(r.RolledBack),
            "alarms": self.alarms,
            "versions": self.versions,
            "lanes": self.lanes,
            "decisions": self.decisions,
            "dead_letters": len(self.letters),
        }


def result(
    pipeline: Pipeline,
    ran: Ran,
    *,
    times: Sequence[int],
    labels: FloatArray,
    begins: NDArray[np.bool_],
    known: Baselines,
    seconds: float,
) -> Result:
    """Put the result together.

    Args:
        pipeline: that was tried.
        ran: what came of it.
        times: event time of each row.
        labels: of each row, NaN where there is none.
        begins: which rows are late enough to be scored.
        known: what one gets without a model.
        seconds: that it took.
    """
    scores = ran.scores
    system = scores.system()
    scored = begins & ~np.isnan(labels) & ~np.isnan(system).any(axis=1)
    trained = [version for version in scores.versions if version > 0]
    said = {"system": system, "static": scores.latest([0, *trained[:1]]), "prior": known.prior}
    truth = labels[scored]
    metrics = {name: of_scores(pipeline.task, each[scored], truth) for name, each in said.items()}
    metrics["no_change"] = of_labels(pipeline.task, known.last[scored], truth)
    arrived = sorted(times)
    return Result(
        pipeline=pipeline.name,
        rows=len(times),
        scored=int(scored.sum()),
        seconds=seconds,
        metrics=metrics,
        decisions=[_decision(each, arrived) for each in ran.decisions if each.event_time is not None],
        alarms=_alarms(ran, arrived),
        versions=_versions(ran, arrived),
        lanes=_lanes(pipeline, ran, scored, labels),
        letters=ran.letters,
    )


def of_scores(task: str, scores: FloatArray, labels: FloatArray) -> Metrics:
    """Accuracy, mean log loss and AUC of scores; of a regression the mean squared error, and none of these.

    With several classes the AUC is the mean over them, each against the rest.
    """
    if task == "regression":
        none = dict.fromkeys(("accuracy", "log_loss", "auc"))
        return {**none, "squared_error": _mean(squared_error(scores, labels))}
    return {
        "accuracy": _rounded(accuracy(answers(scores), labels)),
        "log_loss": _mean(log_loss(scores, labels)),
        "auc": _rounded(auc(scores, labels)),
    }


def of_labels(task: str, answered: FloatArray, labels: FloatArray) -> Metrics:
    """The same of plain answers, which have no probability."""
    if task == "regression":
        return of_scores(task, answered[:, None], labels)
    return {"accuracy": _rounded(accuracy(answered, labels)), "log_loss": None, "auc": None}


def _mean(losses: FloatArray) -> float | None:
    return _rounded(float(losses.mean())) if len(losses) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


def row_at(time: int, arrived: Sequence[int]) -> int:
    """How many rows had arrived by an event time.

    >>> row_at(7, [5, 7, 9])
    2
    """
    return bisect_right(arrived, time)


def _decision(decision: Any, arrived: Sequence[int]) -> dict[str, Any]:
    return {
        "id": decision.id,
        "type": type(decision).__name__,
        "version": getattr(decision, "version", None),
        "lane": getattr(decision, "lane", None),
        "event_time": iso(decision.event_time),
        "row": row_at(decision.event_time, arrived),
        "reason": decision.reason,
    }


def _alarms(ran: Ran, arrived: Sequence[int]) -> list[int]:
    """An alarm is the champion's: what is known of shadows warns nobody."""
    champions = [
        (each.event_time, each.route.champion)
        for each in ran.decisions
        if each.event_time is not None and hasattr(each, "route")
    ]
    found = []
    for alarm in ran.alarms:
        # What was decided at this very time was decided knowing of the alarm.
        before = [champion for time, champion in champions if time < alarm.time]
        if before and before[-1] == alarm.version:
            found.append(row_at(alarm.time, arrived))
    return found


def _versions(ran: Ran, arrived: Sequence[int]) -> list[dict[str, Any]]:
    lines = []
    for each in ran.registered:
        manifest = ran.manifests.get(each.version)
        lines.append(
            {
                "version": each.version,
                "lane": each.lane,
                "purpose": each.purpose.lower(),
                "algorithm": None if manifest is None else manifest.algorithm,
                "verdict": each.verdict.lower(),
                "row": 0 if each.asked is None else row_at(each.asked, arrived),
                "trained_rows": None if manifest is None else manifest.rows,
                "since": None if manifest is None else iso_or_none(manifest.since),
                "cut": iso_or_none(each.cut),
                "answered": int((ran.scores.answered == each.version).sum()),
            }
        )
    return lines


def _lanes(
    pipeline: Pipeline, ran: Ran, scored: NDArray[np.bool_], labels: FloatArray
) -> list[dict[str, Any]]:
    """Each lane with its versions, and how good the newest of them was on the scored rows that it has."""
    specified = {lane.name: lane.raw()[lane.name] for lane in pipeline.lanes}
    lines = []
    for name in dict.fromkeys([*specified, *(each.lane for each in ran.registered)]):
        versions = sorted(each.version for each in ran.registered if each.lane == name)
        said = ran.scores.latest(versions)
        rows = scored & ~np.isnan(said).any(axis=1)
        options = specified.get(name)
        lines.append(
            {
                "lane": name,
                **(options if isinstance(options, dict) else {}),
                "versions": versions,
                "scored": int(rows.sum()),
                **of_scores(pipeline.task, said[rows], labels[rows]),
            }
        )
    return lines
