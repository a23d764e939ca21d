"""Evidence follows from event time and content: not from batches, interleavings, restarts, hearsay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import groupby
from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contracts.records import (
    Heartbeat,
    HoleFound,
    LanesCompared,
    Origin,
    OutcomeKind,
    PerformanceDegraded,
    QualityMeasured,
    Source,
    Span,
    Summary,
    VersionsCompared,
    VersionStage,
)
from penstock.monitor.domain.findings import Evidence
from penstock.monitor.domain.judge import judge
from penstock.monitor.domain.state import State, dump, load
from penstock.monitor.domain.units import DAY
from penstock.monitor.domain.versions import Event
from tests.monitor.stream import (
    EVEN,
    HORIZON,
    HOUR,
    TOPIC,
    Row,
    hourly,
    pipeline,
    registered,
    staged,
    summaries,
    summary,
    told,
    world,
)

PIPELINE = pipeline()
EVENTS: list[Event] = [
    registered(0, asked=None),
    registered(1, asked=DAY),
    registered(2, "recent", asked=DAY),
    staged(0, VersionStage.SHADOW, 2 * DAY, epoch=2),
    staged(1, VersionStage.CHAMPION, 2 * DAY, epoch=2),
    staged(2, VersionStage.CHAMPION, 6 * DAY, epoch=3),
    staged(1, VersionStage.SHADOW, 6 * DAY, epoch=3),
]
KNOWN = world(EVENTS, partitions=3)
STORY = [
    *hourly(5 * 24, {0: EVEN + 0.05, 1: EVEN, 2: EVEN - 0.02}, rows=4, partitions=3),
    *hourly(
        4 * 24, {0: EVEN + 0.05, 1: EVEN + 0.4, 2: EVEN - 0.02}, rows=4, partitions=3, start=5 * DAY, seed=8
    ),
]


def plain(evidence: Sequence[Evidence]) -> list[dict[str, Any]]:
    """What evidence says, without the summaries that led to it and where the rows stand."""
    left_out = {"causes", "ranges", "epoch"}
    return [
        {
            "type": type(each).__name__,
            **{name: value for name, value in asdict(each).items() if name not in left_out},
        }
        for each in evidence
    ]


def assert_same(found: Sequence[Evidence], expected: Sequence[Evidence]) -> None:
    for one, two in zip(plain(found), plain(expected), strict=True):
        assert one == {
            name: pytest.approx(value, rel=1e-9, abs=1e-12) if isinstance(value, float) else value
            for name, value in two.items()
        }


def by_partition(rows: Sequence[Row]) -> list[list[Row]]:
    ordered = sorted(rows, key=attrgetter("partition"))
    return [list(group) for _, group in groupby(ordered, key=attrgetter("partition"))]


def last(partition: int, chain: Sequence[Summary]) -> Summary:
    """The end: everything of this partition was read, and all of it can be judged."""
    return summary(
        [], of=PIPELINE, sequence=len(chain), partition=partition, watermark=10 * DAY + HORIZON, idle=True
    )


def told_whole(rows: Sequence[Row] = STORY) -> list[Evidence]:
    chains = [list(summaries(part, [], of=PIPELINE)) for part in by_partition(rows)]
    whole = [each for part, chain in enumerate(chains) for each in (*chain, last(part, chain))]
    return told(whole, KNOWN)[1]


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_however_rows_come_in_summaries_the_evidence_is_the_same(data: st.DataObject) -> None:
    chains = []
    for partition, rows in enumerate(by_partition(STORY)):
        cuts = data.draw(st.lists(st.integers(1, len(rows) - 1), max_size=25, unique=True).map(sorted))
        chain = list(summaries(rows, cuts, of=PIPELINE))
        chains.append([*chain, last(partition, chain)])
    order = data.draw(st.permutations([partition for partition, chain in enumerate(chains) for _ in chain]))
    streams = [iter(chain) for chain in chains]
    _, evidence = told([next(streams[partition]) for partition in order], KNOWN)
    assert_same(evidence, told_whole())


def test_the_story_has_all_kinds_of_evidence_in_it() -> None:
    evidence = told_whole()
    kinds = {type(each) for each in evidence}
    assert kinds == {PerformanceDegraded, LanesCompared, VersionsCompared, QualityMeasured, Heartbeat}
    assert [each.ordinal for each in evidence] == list(range(len(evidence)))
    assert len({each.id for each in evidence}) == len(evidence)
    times = [each.time for each in evidence]
    assert times == sorted(times)
    degraded = [each for each in evidence if isinstance(each, PerformanceDegraded)]
    assert [each.version for each in degraded] == [1]


def test_a_restart_after_every_summary_changes_nothing() -> None:
    chain = list(
        summaries([replace(row, partition=0) for row in STORY], range(10, len(STORY), 37), of=PIPELINE)
    )
    known = world(EVENTS)
    state, evidence = told(chain, known)
    restarted, again = State(), []
    for offset, each in enumerate(chain):
        restarted, new = judge(
            load(dump(restarted)), each, Source(topic="penstock.summaries", partition=0, offset=offset), known
        )
        again += new
    assert again == evidence
    assert dump(restarted) == dump(state)


def test_nothing_that_is_handed_in_is_changed() -> None:
    chain = list(
        summaries([replace(row, partition=0) for row in STORY], range(100, len(STORY), 100), of=PIPELINE)
    )
    state, known = State(), world(EVENTS)
    for each in chain:
        before, lives = dump(state), dict(known.lives)
        after, evidence = judge(state, each, Source(topic="t", partition=0, offset=0), known)
        assert dump(state) == before
        assert known.lives == lives
        assert judge(state, each, Source(topic="t", partition=0, offset=0), known) == (after, evidence)
        state = after


def test_it_does_not_matter_when_a_decision_is_learnt_of() -> None:
    """A decision of event time t is known when the clock says t; known from the start it changes nothing."""
    chain = list(
        summaries([replace(row, partition=0) for row in STORY], range(4, len(STORY), 4), of=PIPELINE)
    )
    state = State()
    evidence: list[Evidence] = []
    for offset, each in enumerate(chain):
        now = evidence[-1].time if evidence else 0
        known = [
            event
            for event in EVENTS
            if (time := getattr(event, "asked", getattr(event, "event_time", None))) is None or time <= now
        ]
        place = Source(topic="penstock.summaries", partition=0, offset=offset)
        state, new = judge(state, each, place, world(known))
        evidence += new
    assert_same(evidence, told(chain, world(EVENTS))[1])


# -- heartbeats


def test_a_heartbeat_closes_each_alarm_block_that_had_outcomes() -> None:
    rows = [Row(time=0, label=None), Row(time=HOUR), Row(time=5 * HOUR), Row(time=9 * HOUR)]
    given_ = [
        summary(rows[:3], of=PIPELINE, watermark=6 * HOUR + HORIZON),
        summary(rows[3:], of=PIPELINE, sequence=1, watermark=6 * HOUR + HORIZON + 1),
    ]
    _, evidence = told(given_[:1], world())
    assert [(each.sealed, each.rows) for each in evidence if isinstance(each, Heartbeat)] == [
        (HOUR, 0),
        (2 * HOUR, 1),
    ], "a horizon that is just reached is not passed"
    _, evidence = told(given_, world())
    beats = [each for each in evidence if isinstance(each, Heartbeat)]
    assert [(each.begun, each.sealed, each.time, each.rows) for each in beats] == [
        (0, HOUR, HOUR + HORIZON, 0),
        (0, 2 * HOUR, 2 * HOUR + HORIZON, 1),
        (0, 6 * HOUR, 6 * HOUR + HORIZON, 2),
    ]
    [where] = beats[-1].ranges
    assert (where.topic, where.partition, where.start, where.end) == (TOPIC, 0, 0, 200)
    assert beats[-1].causes == (Source(topic="penstock.summaries", partition=0, offset=1),)


def test_only_first_verdicts_on_rows_of_the_stream_count() -> None:
    rows = [
        Row(time=0),
        Row(time=1, origin=Origin.GRPC),
        Row(time=2, kind=OutcomeKind.REVISED),
        Row(time=3, kind=OutcomeKind.LATE, label=None),
    ]
    events = [registered(0, asked=None)]
    rows = [replace(row, losses={0: 0.5} if row.label is not None else {}) for row in rows]
    chain = [summary(rows, of=PIPELINE, watermark=2 * DAY + HORIZON)]
    _, evidence = told(chain, world(events))
    [quality] = [each for each in evidence if isinstance(each, QualityMeasured)]
    assert (quality.rows, quality.unlabelled, quality.loss, quality.labels) == (1, 1, 0.5, 1.0)
    assert (quality.start, quality.end, quality.lane) == (0, DAY, "baseline")


def test_an_outcome_behind_the_horizon_comes_too_late_for_evidence() -> None:
    chain = [
        summary([Row(time=0)], of=PIPELINE, watermark=HOUR + HORIZON + 1),
        summary([Row(time=1), Row(time=2 * HOUR)], of=PIPELINE, sequence=1, watermark=DAY + HORIZON),
    ]
    state, evidence = told(chain, world())
    assert [each.rows for each in evidence if isinstance(each, Heartbeat)] == [1, 2]
    assert state.waiting == ()


# -- holes


def test_a_hole_is_told_at_the_next_heartbeat_and_a_repeat_is_left_out() -> None:
    def one(sequence: int, hour: int, **fields: Any) -> Summary:
        return summary(
            [Row(time=hour * HOUR)],
            of=PIPELINE,
            sequence=sequence,
            watermark=(hour + 1) * HOUR + HORIZON + 1,
            **fields,
        )

    chain = [one(0, 0), one(0, 0), one(3, 1), one(4, 2, outcomes=Span(start=700, end=800))]
    state, evidence = told(chain, world())
    holes = [each for each in evidence if isinstance(each, HoleFound)]
    assert [(each.partition, each.expected, each.found, each.causes[0].offset) for each in holes] == [
        (0, 1, 0, 1),
        (0, 1, 3, 2),
        (0, 4, 4, 3),
    ]
    assert [type(each) for each in evidence] == [
        Heartbeat,
        HoleFound,
        HoleFound,
        Heartbeat,
        HoleFound,
        Heartbeat,
    ]
    assert state.rows == 3
    assert state.partitions[0].sequence == 5


def test_a_first_summary_that_is_not_the_first_is_a_hole() -> None:
    state, _ = told([summary([], of=PIPELINE, sequence=7)], world())
    assert [each.kind for each in state.findings] == ["HoleFound"]


# -- units


def test_units_of_rows_take_blocks_together_until_they_have_enough() -> None:
    by_rows = pipeline(alarm={"average_run_length": 1000, "block": "10rows"}, compare={"block": "20rows"})
    rows = [Row(time=second * 1000, losses={0: 0.5}) for second in range(25)]
    chain = [summary(rows, of=by_rows, watermark=DAY + HORIZON)]
    assert {block.length for block in chain[0].time_blocks} == {60_000}, (
        "seconds would be too many for 12 hours"
    )
    _, evidence = told(chain, world([registered(0, asked=None)], of=by_rows))
    assert [(each.sealed, each.rows) for each in evidence if isinstance(each, Heartbeat)] == [(60_000, 25)]


def test_auto_goes_by_the_first_training_until_a_trained_version_says_what_is_enough() -> None:
    auto = pipeline(alarm={}, compare={}, first_training="100d")
    rows = [replace(row, losses={0: 0.5}) for row in hourly(5 * 24, {}, rows=2)]
    events = [registered(0, asked=None), registered(1, asked=DAY, metrics={"unit": 6 * HOUR})]
    chain = list(summaries(rows, [], of=auto))
    _, evidence = told(chain, world(events, of=auto))
    sealed_at = [each.sealed // HOUR for each in evidence if isinstance(each, Heartbeat)]
    assert sealed_at == [24, 48, 54, 60, 66, 72, 78, 84, 90, 96, 102, 108, 114]
