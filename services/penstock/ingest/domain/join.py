"""The join of one partition: predictions meet the labels that come late, twice, revised, or never.

A prediction is known by its identity, (id, origin), and the first one of an identity is the one that counts.
A label is in time when its own time is at most the prediction's plus the horizon. Of the labels in time the
last by (time, hash of the value) is in force, whatever order they arrive in:

    waiting ──label in time──► labelled ──later label in time──► revised ─┐
       │                                                          ▲  ▲    │
       └─watermark passes the horizon─► expired ──label in time───┘  └────┘
                                         │    └─label too late─► late ──┘ (in time after all)
                                         └ or late at once, where a label too late is there already

Of the labels too late, too, the last by that order is named, so a late one may follow a late one. What a
prediction comes to is a matter of which predictions and labels there are and how far the watermark is.

Every verdict is a record, expiry too, so that whoever rebuilds this state from the logs decides as it was
decided: the watermark's course is not in the predictions and labels, but its effects are in the outcomes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from penstock.contracts.records import Label, LabelUnmatched, OutcomeKind
from penstock.ingest.domain.cases import (
    Case,
    Force,
    Identity,
    Known,
    Made,
    MemoryStore,
    Queue,
    Store,
    force_of,
)

MOST: Final = 5000
"""Verdicts and labels alone that one step of event time decides: it may be a leap over millions, and what it
decides is in memory, and in one transaction."""


class Verdict(NamedTuple):
    """What became of a prediction just now."""

    identity: Identity
    made: Made
    kind: OutcomeKind
    label: Label | None


class Advance(NamedTuple):
    """What a step of event time has decided.

    Args:
        decided: what waited longer than the horizon.
        reached: the event time up to which that is all of it.
    """

    decided: list[Verdict | LabelUnmatched]
    reached: int


@dataclass(slots=True)
class Counts:
    """What changed nothing, counted. A label of a decided id is named by a verdict, a duplicate, or stale."""

    repeats: int = 0
    duplicate_labels: int = 0
    stale_labels: int = 0

    def __bool__(self) -> bool:
        return bool(self.repeats or self.duplicate_labels or self.stale_labels)


@dataclass(slots=True)
class Join:
    """State and rules of one partition.

    Args:
        horizon: how late a label may come, milliseconds.
        store: what is known so far.
        first: offset of the first prediction that the log still has: those before it cannot be judged.

    >>> from penstock.contracts.records import Origin
    >>> join = Join(horizon=100)
    >>> join.predict(Identity("a", Origin.STREAM), Made(time=0, offset=0))
    []
    >>> [verdict.kind.value for verdict in join.label(Label(id="a", time=40, label=1.0))]
    ['LABELLED']
    >>> [verdict.kind.value for verdict in join.label(Label(id="a", time=50, label=0.0))]
    ['REVISED']
    """

    horizon: int
    store: Store = field(default_factory=MemoryStore)
    first: int = 0
    counts: Counts = field(default_factory=Counts)

    def predict(self, identity: Identity, made: Made) -> list[Verdict]:
        """A prediction came; its labels may be here already."""
        case = self._case(identity.id)
        # One with a fate and without a record is from before what retention has left of the predictions.
        if case.of(identity.origin) is not None:
            self.counts.repeats += 1
            return []
        known = Known(identity.origin, made)
        case.learn(known)
        best = self._in_force(case, made)
        verdicts = [] if best is None else [self._decide(case, known, OutcomeKind.LABELLED, best)]
        self.store.keep(case)
        return verdicts

    def label(self, label: Label) -> list[Verdict]:
        """A label came; it says something of each origin's prediction of its id."""
        case = self._case(label.id)
        if label in case.labels:
            self.counts.duplicate_labels += 1
            return []
        case.labels = (*case.labels, label)
        decided = case.decided
        verdicts = [
            verdict for known in case.known if (verdict := self._judge(case, known, label)) is not None
        ]
        if decided and not verdicts:
            self.counts.stale_labels += 1
        self.store.keep(case)
        return verdicts

    def advance(self, watermark: int, *, most: int = MOST) -> Advance:
        """Event time went on: what waited longer than the horizon is decided, the oldest first."""
        decided: list[Verdict | LabelUnmatched] = []
        reached = watermark
        for queue in Queue:
            due = self.store.due(queue, watermark - self.horizon)
            for time, name in itertools.islice(due, most):
                case = self._case(name)
                decided += self._expire(case, time) if queue is Queue.OPEN else self._give_up(case)
                self.store.keep(case)
            if left := next(due, None):
                reached = min(reached, left[0] + self.horizon)
        return Advance(decided, reached)

    def take_counts(self) -> Counts:
        """The counts since they were last taken."""
        counts, self.counts = self.counts, Counts()
        return counts

    # -- what is in the logs already, taken in silently: each log in its order, however they are interleaved

    def recall_prediction(self, identity: Identity, made: Made) -> None:
        case = self._case(identity.id)
        known = case.of(identity.origin) or Known(identity.origin, None)
        if known.made is None:
            case.learn(known._replace(made=made))
            self.store.keep(case)

    def recall_label(self, label: Label) -> None:
        case = self._case(label.id)
        if label not in case.labels:
            case.labels = (*case.labels, label)
            self.store.keep(case)

    def recall_verdict(self, identity: Identity, kind: OutcomeKind, force: Force | None) -> None:
        case = self._case(identity.id)
        known = case.of(identity.origin) or Known(identity.origin, None)
        case.learn(known._replace(kind=kind, force=force))
        self.store.keep(case)

    def recall_unmatched(self, name: str) -> None:
        case = self._case(name)
        case.unmatched = True
        self.store.keep(case)

    # -- the rules

    def _case(self, name: str) -> Case:
        """What is known of an id, less what the log has no record of any more."""
        case = self.store.case(name)
        if self.first and any(each.made and each.made.offset < self.first for each in case.known):
            known = [self._left(each) for each in case.known]
            case.known = tuple(each for each in known if each.made is not None or each.kind is not None)
        return case

    def _left(self, known: Known) -> Known:
        gone = known.made is not None and known.made.offset < self.first
        return known._replace(made=None) if gone else known

    def _in_time(self, made: Made, label: Label) -> bool:
        return label.time <= made.time + self.horizon

    def _in_force(self, case: Case, made: Made) -> Label | None:
        """Of the labels in time the last by their own order, not by arrival."""
        return _last(label for label in case.labels if self._in_time(made, label))

    def _judge(self, case: Case, known: Known, label: Label) -> Verdict | None:
        """What a new label changes for a prediction."""
        if known.made is None:
            return None
        in_time = self._in_time(known.made, label)
        if known.kind is None:
            # One too late waits to be named until the prediction has expired.
            return self._decide(case, known, OutcomeKind.LABELLED, label) if in_time else None
        was_in_time = known.kind not in (OutcomeKind.EXPIRED, OutcomeKind.LATE)
        if in_time == was_in_time and known.force is not None and force_of(label) <= known.force:
            return None
        if in_time:
            return self._decide(case, known, OutcomeKind.REVISED, label)
        return None if was_in_time else self._decide(case, known, OutcomeKind.LATE, label)

    def _expire(self, case: Case, time: int) -> list[Verdict]:
        """The horizon of the predictions of an id that were made at this time has passed."""
        return [
            self._without_label(case, known, known.made)
            for known in case.known
            if known.made is not None and known.made.time == time and known.kind is None
        ]

    def _without_label(self, case: Case, known: Known, made: Made) -> Verdict:
        # Only a horizon that has grown since a label came leaves one here that is in time.
        best = self._in_force(case, made)
        if best is not None:
            return self._decide(case, known, OutcomeKind.LABELLED, best)
        late = _last(case.labels)
        return self._decide(case, known, OutcomeKind.EXPIRED if late is None else OutcomeKind.LATE, late)

    def _give_up(self, case: Case) -> list[LabelUnmatched]:
        """No prediction came for a label."""
        if case.made or case.unmatched:
            return []
        case.unmatched = True
        first = min(case.labels, key=force_of)
        return [LabelUnmatched(id=case.name, time=first.time, label=first.label)]

    def _decide(self, case: Case, known: Known, kind: OutcomeKind, label: Label | None) -> Verdict:
        if known.made is None:
            raise ValueError(f"no record of the prediction of {case.name!r} is left to judge")
        if not case.decided:
            self.counts.stale_labels += len(case.labels) - (label is not None)
        case.learn(known._replace(kind=kind, force=None if label is None else force_of(label)))
        return Verdict(Identity(case.name, known.origin), known.made, kind, label)


def _last(labels: Iterable[Label]) -> Label | None:
    return max(labels, key=force_of, default=None)
