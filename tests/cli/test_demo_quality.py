"""How good the answers were: the system beside what it is held against, on the same rows."""

from __future__ import annotations

import math

import pytest

from penstock.cli.demo.quality import Judged, Row, quality, running_rate
from penstock.contracts.records import JudgedScore, Origin, Outcome, OutcomeKind


def outcome(
    name: str,
    label: float | None = 1.0,
    *,
    kind: OutcomeKind = OutcomeKind.LABELLED,
    origin: Origin = Origin.STREAM,
) -> Outcome:
    return Outcome(
        id=name,
        origin=origin,
        kind=kind,
        time=10,
        label=label,
        label_time=None if label is None else 20,
        epoch=1,
        version=1,
        role=None,
        scores=(
            JudgedScore(version=0, values=(0.5,), loss=0.7),
            JudgedScore(version=1, values=(0.8,), loss=0.2),
            JudgedScore(version=2, values=(), loss=None),
        ),
    )


def test_of_an_id_the_last_label_counts_and_only_the_streams() -> None:
    judged = Judged()
    judged.became(outcome("a", 0.0))
    judged.became(outcome("a", 1.0, kind=OutcomeKind.REVISED))
    judged.became(outcome("b", None, kind=OutcomeKind.EXPIRED))
    judged.became(outcome("c", 1.0, kind=OutcomeKind.LATE))
    judged.became(outcome("d", 1.0, origin=Origin.GRPC))
    assert judged.rows == {"a": Row(10, 1.0, 20, 1, {0: 0.5, 1: 0.8})}


def test_all_are_judged_on_the_rows_that_the_first_trained_version_has_scored() -> None:
    rows = [
        Row(10, 0.0, 11, 0, {0: 0.5}),
        Row(20, 1.0, 25, 0, {0: 0.5, 1: 0.75}),
        Row(30, 0.0, 35, 2, {0: 0.5, 1: 0.25, 2: 0.5}),
    ]
    found = quality(rows, static=1)
    assert found.rows == 2
    assert found.log_loss["static"] == pytest.approx(-math.log(0.75), abs=1e-6)
    assert found.log_loss["system"] == found.log_loss["baseline"] == pytest.approx(math.log(2), abs=1e-6)
    assert found.auc == {"system": 0.5, "static": 1.0, "prior": 0.0, "baseline": 0.5}


def test_the_prior_knows_only_the_labels_that_were_known() -> None:
    rows = [
        Row(10, 1.0, 20, 0, {}),
        Row(19, 1.0, 50, 0, {}),
        Row(20, 0.0, 60, 0, {}),
        Row(70, 0.0, 90, 0, {}),
    ]
    assert running_rate(rows) == [1 / 2, 1 / 2, 2 / 3, 3 / 5]


def test_without_a_trained_version_there_is_nothing_to_compare() -> None:
    found = quality([Row(10, 0.0, 11, 0, {0: 0.5})], static=None)
    assert (found.rows, set(found.log_loss.values()), set(found.auc.values())) == (0, {None}, {None})
