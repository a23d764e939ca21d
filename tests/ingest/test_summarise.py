"""Summaries: a chain without holes, and sums that are numpy's whatever the transactions were."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.contracts.records import (
    JoinAdvanced,
    JudgedScore,
    Label,
    LabelUnmatched,
    Origin,
    Outcome,
    OutcomeKind,
    PredictionsLost,
    Role,
    RowBlock,
    Score,
    Summary,
)
from penstock.ingest.domain.summary import BINS, time_blocks
from penstock.ingest.service import TASKS
from penstock.ingest.summarise import SummariseTask
from penstock.kernel.blocks import ROWS, time_block
from penstock.kernel.hashing import partition_of
from penstock.runtime.broker import Message
from tests.ingest.given import HORIZON, SMALL, Given, prediction
from tests.scenarios.system import HOUR, System

PARTITION = 1
NAN = float("nan")


class World:
    """Summarise, and join where asked for, with one pipeline's topics."""

    def __init__(self, *tasks: str) -> None:
        self.system = System({name: TASKS[name] for name in (*tasks, "summarise")})
        self.given = Given(self.system, self.system.apply(SMALL))

    def outcomes(self, *events: object, partition: int = PARTITION) -> None:
        """Events on the outcomes topic, as the join writes them."""
        pipeline = self.given.pipeline
        rows = self.system.codec.rows(
            Outcome, pipeline.name, pipeline.features_digest, pipeline.feature_names
        )
        for event in events:
            if isinstance(event, Outcome):
                [payload] = rows.encode([event], np.array([[1.0, 2.0]]))
            else:
                payload = self.system.codec.encode(event)
            self.system.broker.append(Message("penstock.churn.outcomes", payload, b"", (), partition))

    def summaries(self, partition: int = PARTITION) -> list[Summary]:
        self.system.settle()
        found = [each for each in self.system.events("summaries") if isinstance(each, Summary)]
        return [each for each in found if each.partition == partition]


def outcome(
    name: str,
    time: int,
    losses: Sequence[float | None] = (0.5,),
    *,
    kind: OutcomeKind = OutcomeKind.LABELLED,
    label: float | None = 1.0,
) -> Outcome:
    return Outcome(
        id=name,
        origin=Origin.STREAM,
        kind=kind,
        time=time,
        label=label,
        label_time=None if label is None else time,
        epoch=1,
        version=0,
        role=Role.CHAMPION,
        scores=tuple(
            JudgedScore(version=version, values=(0.5,), loss=loss) for version, loss in enumerate(losses)
        ),
    )


def advanced(watermark: int | None, *, idle: bool = False, repeats: int = 0) -> JoinAdvanced:
    return JoinAdvanced(watermark=watermark, idle=idle, repeats=repeats, duplicate_labels=2, stale_labels=3)


# -- the chain


def test_each_summary_names_the_end_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SummariseTask, "limit", 7)
    world = World("join")
    for number in range(120):
        world.given.predictions([prediction(f"c-{number}", number * HOUR)])
        if number % 3 == 0:
            world.given.labels(Label(id=f"c-{number}", time=number * HOUR, label=1.0))
        if number % 40 == 39:
            world.system.settle()
            world.system.restart("summarise")
    rows = 0
    for partition in range(3):
        chain = world.summaries(partition)
        assert len(chain) > 3
        first = chain[0]
        assert (first.sequence, first.ordinal) == (0, 0)
        assert (first.predictions.start, first.outcomes.start) == (0, 0)
        for before, after in pairwise(chain):
            assert after.sequence == before.sequence + 1
            assert after.ordinal == before.ordinal + before.rows
            assert after.predictions.start == before.predictions.end
            assert after.outcomes.start == before.outcomes.end
        rows += chain[-1].ordinal + chain[-1].rows
        written = [
            record.offset
            for record in world.system.broker.records("penstock.churn.outcomes")
            if record.partition == partition
        ]
        assert chain[-1].outcomes.end == written[-1] + 1
    assert rows == 120


def test_a_chain_begins_where_the_log_begins() -> None:
    world = World()
    world.given.predictions([prediction(f"c-{number}", 0) for number in range(5)], partition=PARTITION)
    for where in world.system.broker.logs:
        if where == ("penstock.churn.predictions", PARTITION):
            world.system.broker.expire(where, before=3)
    [summary] = world.summaries()
    assert (summary.predictions.start, summary.predictions.end, summary.rows) == (3, 5, 2)


def test_what_retention_removed_unread_is_a_hole_in_the_chain() -> None:
    world = World()
    world.given.predictions([prediction(f"c-{number}", 0) for number in range(2)], partition=PARTITION)
    world.summaries()
    world.given.predictions([prediction(f"d-{number}", 0) for number in range(4)], partition=PARTITION)
    [where] = [each for each in world.system.broker.logs if each == ("penstock.churn.predictions", PARTITION)]
    world.system.broker.expire(where, before=5)
    first, second = world.summaries()
    assert (first.predictions.start, first.predictions.end) == (0, 2)
    assert (second.predictions.start, second.predictions.end, second.rows) == (5, 6, 1)


def test_records_of_a_pipeline_that_was_taken_away_stop_nobody() -> None:
    world = World("join")
    world.given.predictions([prediction("c-1", 0)])
    world.summaries()
    world.given.predictions([prediction("c-2", 0)])
    name = world.given.pipeline.name.encode()
    partition = partition_of(name, world.system.broker.topics()["penstock.pipelines"])
    world.system.broker.append(Message("penstock.pipelines", None, name, (), partition))
    world.system.settle()
    world.system.apply(SMALL)
    world.system.settle()


def test_nothing_to_see_is_no_summary() -> None:
    world = World()
    assert world.summaries() == []


# -- row blocks


FEATURES = st.lists(
    st.tuples(
        st.one_of(st.just(NAN), st.integers(0, 150).map(float)),
        st.one_of(st.just(NAN), st.sampled_from([0.0, 1.0, 2.0, 3.0])),
    ),
    min_size=1,
    max_size=180,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(features=FEATURES, cuts=st.lists(st.integers(1, 60), max_size=6))
def test_row_blocks_add_up_to_numpys_sums_however_transactions_cut_them(
    features: list[tuple[float, float]], cuts: list[int]
) -> None:
    world = World()
    start = 0
    for size in [*cuts, len(features)]:
        part = features[start : start + size]
        heads = [
            prediction(f"c-{start + place}", 0, cleared=(0,) if np.isnan(row[0]) else ())
            for place, row in enumerate(part)
        ]
        world.given.predictions(heads, part, partition=PARTITION)
        world.system.settle()
        start += len(part)

    matrix = np.array(features)
    blocks: defaultdict[int, list[RowBlock]] = defaultdict(list)
    for summary in world.summaries():
        assert summary.rows == sum(block.rows for block in summary.row_blocks)
        for block in summary.row_blocks:
            blocks[block.block].append(block)
    assert list(blocks) == list(range(-(-len(features) // ROWS)))
    for number, parts in blocks.items():
        values = matrix[number * ROWS : (number + 1) * ROWS]
        present = ~np.isnan(values)
        assert sum(each.rows for each in parts) == len(values)
        assert added([each.present for each in parts]) == present.sum(axis=0).tolist()
        assert added([each.sums for each in parts]) == np.nansum(values, axis=0).tolist()
        assert added([each.squares for each in parts]) == np.nansum(values**2, axis=0).tolist()
        assert added([each.cleared for each in parts]) == [int((~present[:, 0]).sum()), 0]
        codes: Counter[str] = Counter()
        for each in parts:
            assert each.categories[0] == {}, "a number has no categories"
            codes.update(each.categories[1])
        assert codes == Counter(str(int(code)) for code in values[present[:, 1], 1])


def added(parts: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) for column in zip(*parts, strict=True)]


def test_a_block_of_rows_is_fifty_rows_wherever_offsets_have_gaps() -> None:
    world = World()
    producer = world.system.broker.transactional("somebody")
    for number in range(ROWS + 1):
        producer.begin()
        payload = world.given.rows.encode([prediction(f"c-{number}", 0)], np.array([[1.0, 1.0]]))[0]
        producer.send([Message("penstock.churn.predictions", payload, b"", (), PARTITION)])
        producer.commit()
    [summary] = world.summaries()
    assert summary.predictions.end == 2 * ROWS + 1, "a marker after each"
    assert [(block.block, block.rows) for block in summary.row_blocks] == [(0, ROWS), (1, 1)]


def test_rows_of_another_layout_are_a_part_of_their_own() -> None:
    world = World()
    world.given.predictions([prediction(f"c-{number}", 0) for number in range(30)], partition=PARTITION)
    wider = world.system.apply({**SMALL, "features": {**dict(SMALL["features"]), "days": "number"}})  # type: ignore[call-overload] # a mapping
    given_wider = Given(world.system, wider)
    given_wider.predictions(
        [prediction(f"d-{number}", 0) for number in range(30)], [(1.0, 2.0, 3.0)] * 30, partition=PARTITION
    )
    [summary] = world.summaries()
    assert [(block.block, block.rows, len(block.sums)) for block in summary.row_blocks] == [
        (0, 30, 2),
        (0, 20, 3),
        (1, 10, 3),
    ]
    assert len({block.layout for block in summary.row_blocks}) == 2


# -- what versions said


def test_scores_are_summed_by_version_and_failures_counted() -> None:
    world = World()
    said = np.array([0.0, 0.049, 0.05, 0.5, 0.999, 1.0])
    heads = [
        prediction(
            f"c-{place}",
            0,
            scores=(
                Score(version=0, values=(value,)),
                Score(version=1, values=() if place % 2 else (value / 2,)),
            ),
        )
        for place, value in enumerate(said.tolist())
    ]
    world.given.predictions([*heads, prediction("e", 0, error="none", scores=())], partition=PARTITION)
    [summary] = world.summaries()
    first, second = summary.scored
    assert (first.version, first.rows, first.failed) == (0, 6, 0)
    assert first.sum == pytest.approx(said.sum())
    assert first.squares == pytest.approx((said**2).sum())
    assert first.histogram == (2, 1, *[0] * 8, 1, *[0] * 8, 2)
    assert len(first.histogram) == BINS
    assert (second.version, second.rows, second.failed) == (1, 3, 3)
    assert [(each.version, each.role, each.rows) for each in summary.answered] == [
        (0, Role.CHAMPION, 6),
        (None, None, 1),
    ]


# -- time blocks


LOSSES = st.one_of(st.none(), st.integers(0, 8).map(lambda eighths: eighths / 8))
JUDGED = st.lists(
    st.builds(
        outcome,
        name=st.just("a"),
        time=st.integers(0, 5 * HOUR),
        losses=st.tuples(LOSSES, LOSSES, LOSSES),
        kind=st.sampled_from([OutcomeKind.LABELLED, OutcomeKind.REVISED]),
        label=st.sampled_from([0.0, 1.0, 2.0]),
    ),
    max_size=60,
)


@settings(max_examples=100, deadline=None)
@given(judged=JUDGED, classes=st.sampled_from([0, 3]))
def test_time_blocks_are_numpys_sums_of_paired_losses(judged: list[Outcome], classes: int) -> None:
    blocks = time_blocks(judged, HOUR, classes=classes)
    found = {(block.start, block.kind, block.versions): block for block in blocks}
    groups: defaultdict[tuple[int, OutcomeKind, tuple[int, ...]], list[Outcome]] = defaultdict(list)
    for each in judged:
        versions = tuple(score.version for score in each.scores if score.loss is not None)
        groups[time_block(each.time, HOUR), each.kind, versions].append(each)
    assert found.keys() == groups.keys()
    for key, group in groups.items():
        block, versions = found[key], key[2]
        losses = np.array(
            [[each.scores[version].loss for version in versions] for each in group], dtype=float
        )
        assert (block.rows, block.length) == (len(group), HOUR)
        labels = np.array([each.label for each in group], dtype=float)
        assert (block.labels, block.squares) == (labels.sum(), np.square(labels).sum())
        assert list(block.counts) == [np.count_nonzero(labels == place) for place in range(classes)]
        assert list(block.losses) == losses.sum(axis=0).tolist()
        assert [(pair.first, pair.second) for pair in block.pairs] == list(combinations(versions, 2))
        for pair in block.pairs:
            d = losses[:, versions.index(pair.second)] - losses[:, versions.index(pair.first)]
            assert (pair.sum, pair.squares) == (d.sum(), np.square(d).sum())
            assert pair.first_better == np.count_nonzero(d > 0)
            assert pair.second_better == np.count_nonzero(d < 0)


def test_outcomes_without_a_label_in_time_are_counted_and_cost_nothing() -> None:
    world = World()
    world.outcomes(
        outcome("a", 0, (None,), kind=OutcomeKind.EXPIRED, label=None),
        outcome("b", 1, (None,), kind=OutcomeKind.EXPIRED, label=None),
        outcome("c", 2, (None,), kind=OutcomeKind.LATE),
        outcome("d", HOUR, (0.25,)),
    )
    [summary] = world.summaries()
    assert [
        (each.start, each.kind, each.rows, each.labels, each.versions, each.losses)
        for each in summary.time_blocks
    ] == [
        (0, OutcomeKind.EXPIRED, 2, 0.0, (), ()),
        (0, OutcomeKind.LATE, 1, 1.0, (), ()),
        (HOUR, OutcomeKind.LABELLED, 1, 1.0, (0,), (0.25,)),
    ]


def test_classes_are_counted_where_there_are_some() -> None:
    system = System({"summarise": TASKS["summarise"]})
    world = Given(system, system.apply({**SMALL, "task": "multiclass", "classes": ["no", "yes", "maybe"]}))
    rows = system.codec.rows(
        *(Outcome, world.pipeline.name, world.pipeline.features_digest, world.pipeline.feature_names)
    )
    heads = [outcome(f"c-{place}", 0, label=float(label)) for place, label in enumerate([2, 0, 2])]
    for payload in rows.encode(heads, np.ones((3, 2))):
        system.broker.append(Message("penstock.churn.outcomes", payload, b"", (), PARTITION))
    system.settle()
    [summary] = system.events("summaries")
    [block] = summary.time_blocks
    assert (block.counts, block.labels, block.squares) == ((1, 0, 2), 4.0, 8.0)


# -- how far the join is


def test_watermark_idleness_and_counts_are_the_joins() -> None:
    world = World()
    world.outcomes(advanced(None), advanced(5, repeats=1))
    world.outcomes(LabelUnmatched(id="a", time=0, label=1.0), advanced(7, idle=True, repeats=2))
    [first] = world.summaries()
    assert (first.watermark, first.idle) == (7, True)
    assert (first.repeats, first.duplicate_labels, first.stale_labels, first.unmatched_labels) == (3, 6, 9, 1)

    world.given.predictions([prediction("a", 0)], partition=PARTITION)
    second = world.summaries()[-1]
    assert (second.sequence, second.watermark, second.idle) == (1, 7, True), "nobody has said otherwise"
    assert (second.repeats, second.unmatched_labels) == (0, 0), "differences only"

    world.system.restart("summarise")
    world.given.predictions([prediction("b", 0)], partition=PARTITION)
    third = world.summaries()[-1]
    assert (third.sequence, third.ordinal, third.watermark, third.idle) == (2, 1, 7, True)

    world.outcomes(advanced(9))
    assert (world.summaries()[-1].watermark, world.summaries()[-1].idle) == (9, False)


def test_answers_that_could_not_be_logged_are_counted() -> None:
    world = World()
    lost = PredictionsLost(pipeline="churn", slot="0", count=17, since=0, until=1)
    payload = world.system.codec.encode(lost)
    world.system.broker.append(Message("penstock.churn.predictions", payload, b"", (), PARTITION))
    [summary] = world.summaries()
    assert (summary.lost, summary.rows, summary.predictions.end) == (17, 0, 1)


def test_a_whole_life_is_summed_up() -> None:
    """Through the join: what is predicted is labelled, late or expired, and the sums say so."""
    world = World("join")
    for number in range(60):
        world.given.predictions([prediction(f"c-{number}", number * HOUR)])
    world.given.labels(*[Label(id=f"c-{number}", time=number * HOUR, label=1.0) for number in range(20)])
    world.given.labels(Label(id="c-30", time=30 * HOUR + HORIZON + 1, label=1.0))
    world.system.settle()
    kinds: Counter[OutcomeKind] = Counter()
    for partition in range(3):
        for summary in world.summaries(partition):
            for block in summary.time_blocks:
                kinds[block.kind] += block.rows
        assert summary.idle
        assert summary.watermark == 59 * HOUR
    # Waiting: those within the horizon of the last one.
    assert kinds == {OutcomeKind.LABELLED: 20, OutcomeKind.LATE: 1, OutcomeKind.EXPIRED: 60 - 20 - 1 - 11}
