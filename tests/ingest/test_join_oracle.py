"""The join against an oracle of ten lines that knows no order, no state and no log.

What becomes of a prediction depends on the set of predictions and labels there are and on how far the event
time has come, whatever came first, twice, late, or just before the process died.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.contracts.records import (
    JoinAdvanced,
    Label,
    LabelUnmatched,
    Origin,
    Outcome,
    OutcomeKind,
)
from penstock.ingest.domain.cases import Case, Fate, Identity, Made, MemoryStore, force_of
from penstock.ingest.domain.join import Join, Verdict
from penstock.ingest.join import JoinTask
from penstock.runtime.broker import Position, TopicPartition
from penstock.runtime.catalog import Catalog
from tests.ingest.given import HORIZON, SMALL, Given, prediction
from tests.scenarios.fragile import STEPS, FragileBroker, Killed, Step
from tests.scenarios.system import HOUR, System

PROVE = bool(os.environ.get("PENSTOCK_PROVE"))
IN_TIME, LATE, EXPIRED, WAITING = "in time", "late", "expired", "waiting"


# -- the oracle


class Fated(NamedTuple):
    what: str
    label: float | None = None
    label_time: int | None = None


def oracle(time: int, labels: Iterable[Label], horizon: int, watermark: int | None) -> Fated:
    """What became of a prediction made at `time`, once event time has come to the watermark."""

    def order(label: Label) -> tuple[int, bytes]:
        return label.time, hashlib.blake2b(struct.pack("<d", label.label), digest_size=8).digest()

    in_time = [label for label in labels if label.time <= time + horizon]
    passed = watermark is not None and time + horizon < watermark
    for what, among in ((IN_TIME, in_time), (LATE, labels if passed else ())):
        if best := max(among, key=order, default=None):
            return Fated(what, best.label, best.time)
    return Fated(EXPIRED if passed else WAITING)


WHAT = {
    OutcomeKind.LABELLED: IN_TIME,
    OutcomeKind.REVISED: IN_TIME,
    OutcomeKind.LATE: LATE,
    OutcomeKind.EXPIRED: EXPIRED,
}


# -- what may happen


@dataclass(frozen=True, slots=True, kw_only=True)
class Predict:
    name: str
    origin: Origin
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    by: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    step: Step
    how: str


NAMES = st.sampled_from("abc")
HOURS = st.integers(0, 40)
PREDICT = st.builds(Predict, name=NAMES, origin=st.sampled_from(Origin), time=HOURS)
LABEL = st.builds(Label, id=NAMES, time=HOURS, label=st.sampled_from([0.0, 1.0]))
HAPPENINGS = st.lists(
    st.one_of(PREDICT, LABEL, LABEL, st.builds(Advance, by=st.integers(1, 15))), max_size=40
)


# -- the domain alone


class Ledger:
    """A join and the three logs that its state is made of."""

    def __init__(self) -> None:
        self.join = Join(horizon=10)
        self.predictions: list[tuple[Identity, Made]] = []
        self.labels: list[Label] = []
        self.verdicts: list[Verdict] = []
        self.unmatched: list[str] = []
        self.counts: Counter[str] = Counter()
        self.watermark: int | None = None

    def happen(self, what: object) -> list[Verdict | LabelUnmatched]:
        decided: list[Verdict | LabelUnmatched] = []
        match what:
            case Predict():
                identity = Identity(what.name, what.origin)
                made = Made(what.time, len(self.predictions))
                self.predictions.append((identity, made))
                decided += self.join.predict(identity, made)
            case Label():
                self.labels.append(what)
                decided += self.join.label(what)
            case Advance():
                self.watermark = (self.watermark or 0) + what.by
                decided += self.advance(self.watermark)
        for each in decided:
            if isinstance(each, Verdict):
                self.verdicts.append(each)
            else:
                self.unmatched.append(each.id)
        counts = self.join.take_counts()
        self.counts.update(
            repeats=counts.repeats, duplicates=counts.duplicate_labels, stale=counts.stale_labels
        )
        return decided

    def advance(self, watermark: int) -> list[Verdict | LabelUnmatched]:
        """One decision at a time: how many at once must not matter."""
        decided: list[Verdict | LabelUnmatched] = []
        reached = watermark - 1
        while reached < watermark:
            advance = self.join.advance(watermark, most=1)
            assert advance.reached > reached or advance.decided
            decided += advance.decided
            reached = advance.reached
        return decided

    def rebuild(self) -> None:
        """Throw the state away and make it of the logs; the outcomes come first, as in a hand-over."""
        self.join = Join(horizon=10)
        for verdict in self.verdicts:
            force = None if verdict.label is None else force_of(verdict.label)
            self.join.recall_fate(verdict.identity, Fate(verdict.kind, force))
        for name in self.unmatched:
            self.join.recall_unmatched(name)
        for identity, made in self.predictions:
            self.join.recall_prediction(identity, made)
        for label in self.labels:
            self.join.recall_label(label)

    def first(self) -> dict[Identity, int]:
        """The time of the first prediction of each identity."""
        return {identity: made.time for identity, made in reversed(self.predictions)}

    def cases(self) -> dict[str, Case]:
        assert isinstance(self.join.store, MemoryStore)
        return self.join.store.cases


def last(verdicts: Iterable[Verdict]) -> dict[Identity, Fated]:
    return {
        identity: Fated(WHAT[kind], label.label if label else None, label.time if label else None)
        for identity, _, kind, label in verdicts
    }


@settings(max_examples=5000 if PROVE else 300, deadline=None)
@given(happenings=HAPPENINGS, final=st.integers(1, 60))
def test_what_becomes_of_a_prediction_is_a_function_of_what_there_is(
    happenings: list[object], final: int
) -> None:
    ledger = Ledger()
    for what in happenings:
        ledger.happen(what)
    ledger.happen(Advance(by=final))

    fates = last(ledger.verdicts)
    for identity, time in ledger.first().items():
        labels = [label for label in ledger.labels if label.id == identity.id]
        expected = oracle(time, labels, 10, ledger.watermark)
        assert fates.get(identity, Fated(WAITING)) == expected, identity
    assert fates.keys() <= ledger.first().keys()


@settings(max_examples=5000 if PROVE else 200, deadline=None)
@given(happenings=HAPPENINGS)
def test_verdicts_follow_one_another_as_the_diagram_says(happenings: list[object]) -> None:
    ledger = Ledger()
    for what in happenings:
        ledger.happen(what)
    chains: defaultdict[Identity, list[Verdict]] = defaultdict(list)
    for verdict in ledger.verdicts:
        chains[verdict.identity].append(verdict)
    after = {
        None: {OutcomeKind.LABELLED, OutcomeKind.EXPIRED, OutcomeKind.LATE},
        OutcomeKind.LABELLED: {OutcomeKind.REVISED},
        OutcomeKind.REVISED: {OutcomeKind.REVISED},
        OutcomeKind.EXPIRED: {OutcomeKind.LATE, OutcomeKind.REVISED},
        OutcomeKind.LATE: {OutcomeKind.LATE, OutcomeKind.REVISED},
    }
    for chain in chains.values():
        kinds = [verdict.kind for verdict in chain]
        assert all(then in after[before] for before, then in zip([None, *kinds], kinds, strict=False)), kinds
        named = [verdict.label for verdict in chain if verdict.label is not None]
        assert len(set(named)) == len(named), "a label is named once"


@settings(max_examples=5000 if PROVE else 200, deadline=None)
@given(happenings=HAPPENINGS)
def test_every_label_of_a_decided_id_is_named_stale_or_a_duplicate(happenings: list[object]) -> None:
    ledger = Ledger()
    for what in happenings:
        if not isinstance(what, Predict) or what.origin is Origin.STREAM:
            ledger.happen(what)
    decided = {verdict.identity.id for verdict in ledger.verdicts}
    distinct = {label for label in ledger.labels if label.id in decided}
    named = [verdict.label for verdict in ledger.verdicts if verdict.label is not None]
    assert len(distinct) == len(named) + ledger.counts["stale"]
    assert ledger.counts["duplicates"] == len(ledger.labels) - len(set(ledger.labels))
    assert ledger.counts["repeats"] == len(ledger.predictions) - len(ledger.first())


@settings(max_examples=5000 if PROVE else 200, deadline=None)
@given(happenings=HAPPENINGS, final=st.integers(1, 60))
def test_a_label_without_a_prediction_is_named_once_when_its_horizon_has_passed(
    happenings: list[object], final: int
) -> None:
    ledger = Ledger()
    for what in happenings:
        ledger.happen(what)
    ledger.happen(Advance(by=final))
    known = {identity.id for identity, _ in ledger.predictions}
    alone = {
        label.id
        for label in ledger.labels
        if label.id not in known and label.time + 10 < (ledger.watermark or 0)
    }
    assert alone == set(ledger.unmatched) - known
    assert len(set(ledger.unmatched)) == len(ledger.unmatched)


@settings(max_examples=5000 if PROVE else 200, deadline=None)
@given(happenings=HAPPENINGS)
def test_a_state_made_of_the_logs_decides_as_the_one_that_ran_through(happenings: list[object]) -> None:
    calm, shaken = Ledger(), Ledger()
    for what in happenings:
        assert calm.happen(what) == shaken.happen(what)
        shaken.rebuild()
    assert calm.counts == shaken.counts
    assert calm.cases() == shaken.cases()


def test_a_horizon_that_grows_takes_in_a_label_that_waited() -> None:
    join = Join(horizon=10)
    join.predict(Identity("a", Origin.STREAM), Made(0, 0))
    assert join.label(Label(id="a", time=15, label=1.0)) == []
    join.horizon = 20
    [verdict] = join.advance(21).decided
    assert isinstance(verdict, Verdict)
    assert verdict.kind is OutcomeKind.LABELLED


def test_a_repeat_of_a_prediction_that_retention_has_removed_is_still_a_repeat() -> None:
    join = Join(horizon=10)
    identity = Identity("a", Origin.STREAM)
    join.recall_fate(identity, Fate(OutcomeKind.LABELLED, (1, b"")))
    join.recall_label(Label(id="a", time=1, label=1.0))
    assert join.predict(identity, Made(0, 7)) == []
    assert join.take_counts().repeats == 1
    assert join.advance(100).decided == [], "its label has not come alone"


def test_what_retention_removes_from_the_log_can_be_judged_no_more() -> None:
    """Whether the cache had it or not: a verdict could not be written without the record."""
    join = Join(horizon=10)
    for name, offset in (("decided", 0), ("waiting", 1), ("there", 2)):
        join.predict(Identity(name, Origin.STREAM), Made(0, offset))
    join.label(Label(id="decided", time=1, label=1.0))
    join.first = 2
    assert join.label(Label(id="decided", time=2, label=0.0)) == []
    assert join.take_counts().stale_labels == 1
    [verdict] = join.advance(11).decided
    assert isinstance(verdict, Verdict)
    assert verdict.identity.id == "there"


def test_a_leap_of_event_time_is_taken_in_steps() -> None:
    join = Join(horizon=10)
    for number in range(5):
        join.predict(Identity(f"p{number}", Origin.STREAM), Made(number, number))
        join.label(Label(id=f"l{number}", time=number, label=1.0))
    steps = [join.advance(100, most=2) for _ in range(3)]
    assert [len(step.decided) for step in steps] == [4, 4, 2]
    assert [step.reached for step in steps] == [12, 14, 100], "as far as all is decided"


# -- the real task, on a broker, in a process that dies


FAIL = st.builds(
    Fail, step=st.sampled_from(STEPS), how=st.sampled_from(["killed before", "killed after", "aborted"])
)
COURSE = st.lists(
    st.one_of(PREDICT, LABEL, LABEL, FAIL, st.builds(Settle, steps=st.integers(1, 3))), max_size=40
)


class Story:
    """A join task on a broker that fails when told to."""

    def __init__(self) -> None:
        self.system = System({"join": JoinTask}, broker=FragileBroker)
        self.given = Given(self.system, self.system.apply(SMALL))
        self.predictions: list[Predict] = []
        self.labels: list[Label] = []

    @property
    def broker(self) -> FragileBroker:
        broker = self.system.broker
        assert isinstance(broker, FragileBroker)
        return broker

    def happen(self, what: object) -> None:
        match what:
            case Predict():
                self.predictions.append(what)
                self.given.predictions([prediction(what.name, what.time * HOUR, origin=what.origin)])
            case Label():
                label = Label(id=what.id, time=what.time * HOUR, label=what.label)
                self.labels.append(label)
                self.given.labels(label)
            case Settle():
                for _ in range(what.steps):
                    self.step()
            case Fail(how="aborted"):
                self.broker.abort(what.step)
            case Fail():
                self.broker.kill(what.step, done=what.how == "killed after")

    def step(self) -> bool:
        try:
            return self.system.step("join")
        except Killed:
            self.system.restart("join")
            return True

    def rest(self) -> None:
        """Until two rounds have brought nothing: an aborted round says that it did nothing, too."""
        quiet = 0
        while quiet < 2:
            quiet = 0 if self.step() else quiet + 1

    def events(self) -> list[Any]:
        return self.system.events("outcomes", "churn")

    def state(self) -> object:
        task = self.system.task("join")
        assert isinstance(task, JoinTask)
        return known(task)

    def restored(self) -> object:
        """The state as a process would have it that begins now."""
        task = JoinTask(Catalog(self.broker, self.system.names), self.broker)
        committed = self.broker.groups.get("penstock.join", {})
        inputs = [TopicPartition(topic, number) for topic in task.topics() for number in range(3)]
        for _ in task.restore({where: committed.get(where, Position(0)) for where in inputs}):
            pass
        return known(task)


def known(task: JoinTask) -> object:
    cases = {place: part.shelf.cases for place, part in task.parts.items()}  # type: ignore[attr-defined]
    clocks = [(part.watermark, part.idle, part.clock.seen) for part in task.parts.values()]
    return cases, clocks


def check(story: Story) -> None:
    """Everything that is on the outcomes topic is what the oracle says, once."""
    events = story.events()
    outcomes = [event for event in events if isinstance(event, Outcome)]
    advanced = [event for event in events if isinstance(event, JoinAdvanced)]
    clock = [each.time * HOUR for each in story.predictions if each.origin is Origin.STREAM]
    clock += [label.time for label in story.labels]

    # Read to its end, an input holds nobody up: event time has come to the latest of all.
    watermark = max(clock, default=None)
    assert max((each.watermark for each in advanced if each.watermark is not None), default=None) == watermark

    first = {Identity(each.name, each.origin): each.time * HOUR for each in reversed(story.predictions)}
    fates = {
        Identity(each.id, each.origin): Fated(WHAT[each.kind], each.label, each.label_time)
        for each in outcomes
    }
    for identity, time in first.items():
        labels = [label for label in story.labels if label.id == identity.id]
        assert fates.get(identity, Fated(WAITING)) == oracle(time, labels, HORIZON, watermark), identity

    written = Counter((each.id, each.origin, each.kind, each.label, each.label_time) for each in outcomes)
    assert set(written.values()) <= {1}, "an outcome is written once"
    unmatched = Counter(each.id for each in events if isinstance(each, LabelUnmatched))
    assert set(unmatched.values()) <= {1}
    assert sum(each.repeats for each in advanced) == len(story.predictions) - len(first)
    assert sum(each.duplicate_labels for each in advanced) == len(story.labels) - len(set(story.labels))


@settings(max_examples=1000 if PROVE else 60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(course=COURSE)
def test_the_task_writes_what_the_oracle_says_exactly_once_whatever_fails(course: Sequence[object]) -> None:
    story = Story()
    for what in course:
        story.happen(what)
    story.rest()

    check(story)
    assert story.state() == story.restored()


def test_each_way_to_fail_is_met_and_survived() -> None:
    """The property above would hold of a broker that never fails, too."""
    for step in STEPS:
        for how in ("killed before", "killed after", "aborted"):
            story = Story()
            story.happen(Predict(name="a", origin=Origin.STREAM, time=0))
            story.rest()
            story.happen(Label(id="a", time=1, label=1.0))
            story.happen(Predict(name="b", origin=Origin.STREAM, time=30))
            story.happen(Fail(step=step, how=how))
            story.rest()
            assert story.broker.failures == 1, (step, how)
            check(story)


def test_a_prediction_that_comes_behind_the_watermark_is_expired_at_once() -> None:
    story = Story()
    story.happen(Predict(name="a", origin=Origin.STREAM, time=30))
    story.rest()
    story.happen(Predict(name="b", origin=Origin.STREAM, time=0))
    story.rest()
    [expired] = [event for event in story.events() if isinstance(event, Outcome)]
    assert (expired.id, expired.kind) == ("b", OutcomeKind.EXPIRED)


def test_a_prediction_without_an_answer_has_no_outcome() -> None:
    story = Story()
    story.given.predictions([prediction("a", 0, error="no model", scores=())])
    story.happen(Label(id="a", time=1, label=1.0))
    story.happen(Predict(name="b", origin=Origin.STREAM, time=30))
    story.rest()
    assert not [event for event in story.events() if isinstance(event, Outcome)]


def test_the_log_says_of_each_partition_when_both_inputs_were_read_to_their_ends() -> None:
    story = Story()
    story.rest()
    said = [event for event in story.events() if isinstance(event, JoinAdvanced)]
    assert [(event.idle, event.watermark) for event in said] == [(True, None)] * 3
