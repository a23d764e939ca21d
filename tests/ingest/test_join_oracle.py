"""The rules of the join against an oracle of ten lines that knows no order, no state and no log.

What becomes of a prediction depends on the set of predictions and labels there are and on how far the event
time has come, whatever came first, twice, or late.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contracts.records import Label, LabelUnmatched, Origin, OutcomeKind
from penstock.ingest.domain.cases import Case, Identity, Made, MemoryStore, force_of
from penstock.ingest.domain.join import Join, Verdict
from tests.ingest.joining import AFTER, LABEL, PREDICT, WAITING, WHAT, Fated, Predict, oracle

PROVE = bool(os.environ.get("PENSTOCK_PROVE"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    by: int


HAPPENINGS = st.lists(
    st.one_of(PREDICT, LABEL, LABEL, st.builds(Advance, by=st.integers(1, 15))), max_size=40
)


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
            self.join.recall_verdict(verdict.identity, verdict.kind, force)
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
    for chain in chains.values():
        kinds = [verdict.kind for verdict in chain]
        assert all(then in AFTER[before] for before, then in zip([None, *kinds], kinds, strict=False)), kinds
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
    join.recall_verdict(identity, OutcomeKind.LABELLED, (1, b""))
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
