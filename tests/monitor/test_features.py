"""The drift of features: warned of once, in time, never on noise, cleared when it is over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from penstock.contracts.records import (
    DriftCleared,
    DriftWarned,
    Heartbeat,
    Profile,
    RowBlock,
    Source,
    VersionStage,
)
from penstock.ingest.domain.summary import Served, row_blocks
from penstock.kernel.blocks import ROWS
from penstock.kernel.pipeline import Pipeline
from penstock.monitor.domain.features import Drift, Reference, drifted
from penstock.monitor.domain.findings import Finding
from penstock.monitor.domain.versions import Event
from penstock.trainer.profile import profile
from tests.ingest.given import prediction
from tests.monitor.stream import DAY, HORIZON, HOUR, Row, registered, staged, summary, told, world
from tests.monitor.stream import pipeline as small

SEED = 20131
FEATURES = 12
CAUSE = Source(topic="penstock.summaries", partition=0, offset=0)
PIPELINE = Pipeline.read(
    {
        **small().raw(),
        "features": {f"f{number}": "number" for number in range(FEATURES)},
    }
)
Matrix = NDArray[np.float64]


def reference(rows: Matrix, names: Sequence[str] = PIPELINE.feature_names) -> Reference:
    made = profile(rows)
    return Reference(
        layout="layout",
        names=tuple(names),
        profile=Profile(
            **{name: getattr(made, name) for name in Profile.__dataclass_fields__ if hasattr(made, name)}
        ),
    )


def blocks(rows: Matrix, ordinal: int = 0) -> list[RowBlock]:
    heads = [prediction("a", 0)] * len(rows)
    return list(
        row_blocks(ordinal, Served(layout="layout", categories=frozenset(), heads=heads, matrix=rows))
    )


def watched(
    known: Reference, rows: Matrix, *, cuts: Iterable[int] = (), of: Pipeline = PIPELINE
) -> tuple[Drift, list[Finding]]:
    drift, findings = Drift(), []
    edges = [0, *cuts, len(rows)]
    for start, end in pairwise(edges):
        drift, new = drifted(
            drift, blocks(rows[start:end], start), 0, of, version=1, reference=known, cause=CAUSE
        )
        findings += new
    return drift, findings


def noise(rng: np.random.Generator, rows: int, kind: str = "iid") -> Matrix:
    shape = (rows, FEATURES)
    if kind == "heavy tails":
        return rng.standard_t(2.2, shape)
    if kind == "season":
        wave: Matrix = rng.normal(size=shape) + 2 * np.sin(np.arange(rows) * 2 * np.pi / 1000)[:, None]
        return wave
    if kind == "autocorrelated":
        steps = rng.normal(0, 0.19**0.5, shape)
        for row in range(1, rows):
            steps[row] += 0.9 * steps[row - 1]
        return steps
    return rng.normal(size=shape)


@pytest.mark.parametrize("kind", ["iid", "heavy tails", "season", "autocorrelated"])
def test_noise_is_never_warned_of(kind: str) -> None:
    rng = np.random.default_rng(SEED)
    known = reference(noise(rng, 10_000, kind))
    _, findings = watched(known, noise(rng, 20_000, kind), cuts=range(500, 20_000, 500))
    assert findings == []


@pytest.mark.parametrize(
    ("statistic", "within"),
    [("half a spread", 500), ("one spread", 300), ("twice the variance", 500)],
)
def test_a_shift_is_warned_of_once_and_cleared_when_it_is_over(statistic: str, within: int) -> None:
    rng = np.random.default_rng(SEED)
    known = reference(noise(rng, 10_000))
    rows = noise(rng, 9000)
    shifted = rows[3000:6000, 4]
    if statistic == "twice the variance":
        shifted *= 2**0.5
    else:
        shifted += {"half a spread": 0.5, "one spread": 1.0}[statistic]
    _, findings = watched(known, rows)
    assert [(each.kind, each.about) for each in findings] == [("DriftWarned", "f4"), ("DriftCleared", "f4")]
    fields = findings[0].fields
    assert fields["statistic"] == ("square" if statistic == "twice the variance" else "mean")
    row = fields["row"]
    assert isinstance(row, int)
    assert 0 < row * ROWS - 3000 <= within
    assert abs(float(fields["before"])) < 1 < float(fields["after"])


def test_a_champion_that_never_saw_the_present_is_warned_of_at_once() -> None:
    """The window begins with the reference: what is compared with it need not change to be elsewhere."""
    rng = np.random.default_rng(SEED)
    rows = noise(rng, 1000)
    rows[:, 0] += 1
    _, findings = watched(reference(noise(rng, 10_000)), rows)
    assert [each.about for each in findings] == ["f0"]


def test_however_the_rows_are_cut_the_findings_and_the_state_are_the_same() -> None:
    rng = np.random.default_rng(SEED)
    known = reference(noise(rng, 5000))
    rows = noise(rng, 6000)
    rows[2000:4000, 3:6] += 1
    rows[rng.random(rows.shape) < 0.2] = np.nan
    drift, findings = watched(known, rows)
    assert len(findings) == 6
    for step in (7, 50, 333):
        again, found = watched(known, rows, cuts=range(step, len(rows), step))
        assert [(each.kind, each.about, each.fields.get("row")) for each in found] == [
            (each.kind, each.about, each.fields.get("row")) for each in findings
        ]
        assert again.channels.keys() == drift.channels.keys()
        for name, channels in again.channels.items():
            assert channels.recent == pytest.approx(drift.channels[name].recent, rel=1e-6, abs=1e-9)


def test_categories_and_constants_are_not_watched() -> None:
    rng = np.random.default_rng(SEED)
    rows = np.column_stack([rng.normal(size=3000), rng.integers(0, 3, 3000), np.ones(3000)]).astype(
        np.float64
    )
    raw = {**small().raw(), "features": {"age": "number", "plan": {"category": ["a", "b"]}, "one": "number"}}
    of = Pipeline.read(raw)
    drift, _ = watched(reference(rows, of.feature_names), rows, of=of)
    assert list(drift.channels) == ["age"]


def test_values_beyond_all_measure_are_far_away_and_poison_nothing() -> None:
    rng = np.random.default_rng(SEED)
    known = reference(noise(rng, 5000))
    rows = noise(rng, 2000)
    rows[1000:1300, 0] = 3e38
    _, findings = watched(known, rows)
    assert [(each.kind, each.about) for each in findings][:1] == [("DriftWarned", "f0")]
    assert all(np.isfinite(float(each.fields.get("after", 0))) for each in findings)


def test_rows_of_another_layout_and_blocks_cut_short_are_left_out() -> None:
    rng = np.random.default_rng(SEED)
    known = reference(noise(rng, 5000))
    [whole] = blocks(noise(rng, ROWS))
    other = replace(whole, layout="another")
    first, second = (replace(whole, rows=20), replace(whole, block=1, rows=30))
    drift, _ = drifted(Drift(), [other, first, second], 0, PIPELINE, version=1, reference=known, cause=CAUSE)
    assert drift.channels == {}
    assert drift.parts[0].rows == 30
    drift, _ = drifted(
        drift, [replace(whole, block=1, rows=20)], 1, PIPELINE, version=1, reference=known, cause=CAUSE
    )
    assert drift.channels == {}, "another partition's"
    drift, _ = drifted(
        drift, [replace(whole, block=1, rows=20)], 0, PIPELINE, version=1, reference=known, cause=CAUSE
    )
    assert len(drift.channels) == FEATURES
    assert list(drift.parts) == [1]


def test_without_a_profile_there_is_nothing_to_compare_with_and_a_new_one_begins_anew() -> None:
    rng = np.random.default_rng(SEED)
    known = reference(noise(rng, 5000))
    rows = blocks(noise(rng, 1000) + 1)
    assert drifted(Drift(), rows, 0, PIPELINE, version=0, reference=None, cause=CAUSE) == (Drift(), [])
    drift, findings = drifted(Drift(), rows, 0, PIPELINE, version=1, reference=known, cause=CAUSE)
    assert len(findings) == FEATURES
    after, findings = drifted(drift, [], 0, PIPELINE, version=2, reference=known, cause=CAUSE)
    assert (after.version, after.channels, findings) == (2, {}, [])


def test_drift_is_told_with_the_next_heartbeat_against_the_champions_profile() -> None:
    rng = np.random.default_rng(SEED)
    events: list[Event] = [
        registered(0, asked=None),
        registered(1, asked=0),
        staged(1, VersionStage.CHAMPION, 0, epoch=2),
    ]
    known = replace(world(events, of=PIPELINE), references={1: reference(noise(rng, 5000))})
    rows = noise(rng, 6000)
    rows[2000:4000, 5] += 1
    chain = [
        summary(
            [Row(time=(hour + 24) * HOUR)],
            of=PIPELINE,
            sequence=hour,
            watermark=(hour + 25) * HOUR + HORIZON + 1,
            row_blocks=tuple(blocks(rows[hour * 500 : hour * 500 + 500], hour * 500)),
        )
        for hour in range(12)
    ]
    _, evidence = told(chain, known)
    drift = [each for each in evidence if isinstance(each, DriftWarned | DriftCleared)]
    assert [(type(each), each.version, each.feature, each.statistic) for each in drift] == [
        (DriftWarned, 1, "f5", "mean"),
        (DriftCleared, 1, "f5", "mean"),
    ]
    place = evidence.index(drift[0])
    beat = evidence[place + 1]
    assert isinstance(beat, Heartbeat)
    assert (beat.time, beat.causes) == (drift[0].time, drift[0].causes)
    assert drift[0].time >= DAY
