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

import hashlib
import heapq
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from penstock.contracts.records import Label, LabelUnmatched, Origin, OutcomeKind

Force = tuple[int, bytes]
"""What orders the labels of one id: time, then hash of the value."""


class Identity(NamedTuple):
    id: str
    origin: Origin


class Predicted(NamedTuple):
    """A prediction that can be joined: when, and its record, which this module does not look into."""

    time: int
    payload: bytes


class Verdict(NamedTuple):
    """What became of a prediction just now."""

    predicted: Predicted
    kind: OutcomeKind
    label: Label | None


class Fate(NamedTuple):
    """What is in the log of a prediction: the last verdict, and the label it rests on."""

    kind: OutcomeKind
    force: Force | None


@dataclass(slots=True)
class Counts:
    """What changed nothing, counted. A label of a decided id is named by a verdict, a duplicate, or stale."""

    repeats: int = 0
    duplicate_labels: int = 0
    stale_labels: int = 0

    def __bool__(self) -> bool:
        return bool(self.repeats or self.duplicate_labels or self.stale_labels)


def force_of(label: Label) -> Force:
    """What a label is ordered by among those of its id."""
    return label.time, hashlib.blake2b(struct.pack("<d", label.label), digest_size=8).digest()


@dataclass(slots=True)
class Join:
    """State and rules of one partition.

    >>> join = Join(horizon=100)
    >>> join.predict(Identity("a", Origin.STREAM), Predicted(time=0, payload=b"row"))
    []
    >>> [verdict.kind.value for verdict in join.label(Label(id="a", time=40, label=1.0))]
    ['LABELLED']
    >>> [verdict.kind.value for verdict in join.label(Label(id="a", time=50, label=0.0))]
    ['REVISED']
    """

    horizon: int
    predicted: dict[Identity, Predicted] = field(default_factory=dict)
    fates: dict[Identity, Fate] = field(default_factory=dict)
    labels: dict[str, list[Label]] = field(default_factory=dict)
    unmatched: set[str] = field(default_factory=set)
    counts: Counts = field(default_factory=Counts)
    _open: list[tuple[int, Identity]] = field(default_factory=list)
    _alone: list[tuple[int, str]] = field(default_factory=list)

    def predict(self, identity: Identity, predicted: Predicted) -> list[Verdict]:
        """A prediction came; its labels may be here already."""
        # One with a fate and without a record is from before what retention has left of the predictions.
        if identity in self.predicted or identity in self.fates:
            self.counts.repeats += 1
            return []
        self.predicted[identity] = predicted
        heapq.heappush(self._open, (predicted.time, identity))
        best = self._in_force(identity)
        return [] if best is None else [self._decide(identity, OutcomeKind.LABELLED, best)]

    def label(self, label: Label) -> list[Verdict]:
        """A label came; it says something of each origin's prediction of its id."""
        known = self.labels.setdefault(label.id, [])
        if label in known:
            self.counts.duplicate_labels += 1
            return []
        known.append(label)
        identities = [Identity(label.id, origin) for origin in Origin]
        decided = any(identity in self.fates for identity in identities)
        if not any(identity in self.predicted for identity in identities):
            heapq.heappush(self._alone, (label.time, label.id))
        verdicts = [
            verdict
            for identity in identities
            if identity in self.predicted and (verdict := self._judge(identity, label))
        ]
        if decided and not verdicts:
            self.counts.stale_labels += 1
        return verdicts

    def advance(self, watermark: int) -> list[Verdict | LabelUnmatched]:
        """Event time went on: what waited longer than the horizon is decided."""
        decided: list[Verdict | LabelUnmatched] = []
        while self._open and self._open[0][0] + self.horizon < watermark:
            _, identity = heapq.heappop(self._open)
            if identity in self.fates:
                continue
            decided.append(self._expire(identity))
        while self._alone and self._alone[0][0] + self.horizon < watermark:
            _, name = heapq.heappop(self._alone)
            if name in self.unmatched or any(Identity(name, origin) in self.predicted for origin in Origin):
                continue
            self.unmatched.add(name)
            first = min(self.labels[name], key=force_of)
            decided.append(LabelUnmatched(id=name, time=first.time, label=first.label))
        return decided

    def take_counts(self) -> Counts:
        """The counts since they were last taken."""
        counts, self.counts = self.counts, Counts()
        return counts

    def restore(
        self,
        predictions: Iterable[tuple[Identity, Predicted]],
        labels: Iterable[Label],
        fates: Iterable[tuple[Identity, Fate]],
        unmatched: Iterable[str],
    ) -> None:
        """Take in a stretch of the three logs, silently; stretches come in the order of each log."""
        for identity, fate in fates:
            self.fates[identity] = fate
        self.unmatched.update(unmatched)
        for identity, predicted in predictions:
            if identity not in self.predicted:
                self.predicted[identity] = predicted
        for label in labels:
            known = self.labels.setdefault(label.id, [])
            if label not in known:
                known.append(label)

    def restored(self) -> None:
        """All logs were taken in: what is still open waits again."""
        self._open = [
            (predicted.time, identity)
            for identity, predicted in self.predicted.items()
            if identity not in self.fates
        ]
        self._alone = [
            (label.time, name)
            for name, labels in self.labels.items()
            for label in labels
            if name not in self.unmatched
            and not any(Identity(name, origin) in self.predicted for origin in Origin)
        ]
        heapq.heapify(self._open)
        heapq.heapify(self._alone)

    def _in_time(self, identity: Identity, label: Label) -> bool:
        return label.time <= self.predicted[identity].time + self.horizon

    def _in_force(self, identity: Identity) -> Label | None:
        """Of the labels in time the last by their own order, not by arrival."""
        in_time = [label for label in self.labels.get(identity.id, ()) if self._in_time(identity, label)]
        return max(in_time, key=force_of, default=None)

    def _judge(self, identity: Identity, label: Label) -> Verdict | None:
        """What a new label changes for a prediction."""
        fate = self.fates.get(identity)
        in_time = self._in_time(identity, label)
        if fate is None:
            # One too late waits to be named until the prediction has expired.
            return self._decide(identity, OutcomeKind.LABELLED, label) if in_time else None
        was_in_time = fate.kind not in (OutcomeKind.EXPIRED, OutcomeKind.LATE)
        if in_time == was_in_time and fate.force is not None and force_of(label) <= fate.force:
            return None
        if in_time:
            return self._decide(identity, OutcomeKind.REVISED, label)
        return None if was_in_time else self._decide(identity, OutcomeKind.LATE, label)

    def _expire(self, identity: Identity) -> Verdict:
        """The horizon of a prediction without a verdict has passed."""
        # Only a horizon that has grown since a label came leaves one here that is in time.
        best = self._in_force(identity)
        if best is not None:
            return self._decide(identity, OutcomeKind.LABELLED, best)
        late = max(self.labels.get(identity.id, ()), key=force_of, default=None)
        kind = OutcomeKind.EXPIRED if late is None else OutcomeKind.LATE
        return self._decide(identity, kind, late)

    def _decide(self, identity: Identity, kind: OutcomeKind, label: Label | None) -> Verdict:
        if not any(Identity(identity.id, origin) in self.fates for origin in Origin):
            self.counts.stale_labels += len(self.labels.get(identity.id, ())) - (label is not None)
        self.fates[identity] = Fate(kind, None if label is None else force_of(label))
        return Verdict(self.predicted[identity], kind, label)
