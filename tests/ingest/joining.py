"""A story of joins: what is given to them, who of them runs, how they die, and what must have come of it.

It runs on any broker. Processes are stepped in this thread; one that is killed is left as it is, as a zombie
that knows nothing of it, and only its files are let go of, as the system does it for a dead process.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, cast

import numpy as np
from hypothesis import strategies as st

from penstock.contracts.records import (
    JoinAdvanced,
    Label,
    LabelUnmatched,
    Origin,
    Outcome,
    OutcomeKind,
    Prediction,
)
from penstock.ingest.domain.cases import Identity
from penstock.ingest.join import JoinTask
from penstock.ingest.store import Cache, Rocks
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.broker import (
    Aborted,
    Broker,
    Consumer,
    Message,
    Polled,
    Position,
    TopicPartition,
    TransactionalProducer,
)
from penstock.runtime.catalog import Catalog, Names, apply_messages, publish_schemas
from penstock.runtime.codec import Codec
from penstock.runtime.loop import Loop, Staged
from penstock.runtime.memory import MemoryBroker
from penstock.runtime.telemetry import off
from penstock.runtime.topics import topics
from tests.ingest.given import HORIZON, NOBODY, SMALL, prediction
from tests.scenarios.system import HOUR

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


WHAT: Final = {
    OutcomeKind.LABELLED: IN_TIME,
    OutcomeKind.REVISED: IN_TIME,
    OutcomeKind.LATE: LATE,
    OutcomeKind.EXPIRED: EXPIRED,
}
AFTER: Final = {
    None: {OutcomeKind.LABELLED, OutcomeKind.EXPIRED, OutcomeKind.LATE},
    OutcomeKind.LABELLED: {OutcomeKind.REVISED},
    OutcomeKind.REVISED: {OutcomeKind.REVISED},
    OutcomeKind.EXPIRED: {OutcomeKind.LATE, OutcomeKind.REVISED},
    OutcomeKind.LATE: {OutcomeKind.LATE, OutcomeKind.REVISED},
}
"""Which verdicts may follow one another on one prediction."""


# -- what may happen

Step = Literal["restore", "poll", "begin", "process", "send", "offsets", "commit", "adopt"]
STEPS: tuple[Step, ...] = ("restore", "poll", "begin", "process", "send", "offsets", "commit", "adopt")
"""The numbered steps of the loop: 0, 1, 2, the core and the sending of 3, 4, 5, 6."""
Kept = Literal["kept", "lost", "old"]
SLOTS = ("0", "1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Predict:
    name: str
    origin: Origin
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """One process does its work for a while."""

    slot: str
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """Whoever comes by this step next dies there, or has its transaction aborted.

    Args:
        done: whether the step was done before.
        kept: what the next process in the slot finds of the cache: all, nothing, or that of an earlier death.
    """

    step: Step
    how: Literal["killed", "aborted"]
    done: bool
    kept: Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Come:
    """A process begins in a slot where none runs: the partitions are shared anew."""

    slot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """A process is killed, and no other comes in its slot: the others get its partitions."""

    slot: str


NAMES = st.sampled_from("abcdf")  # on all three partitions
HOURS = st.integers(0, 40)
PREDICT = st.builds(Predict, name=NAMES, origin=st.sampled_from(Origin), time=HOURS)
LABEL = st.builds(Label, id=NAMES, time=HOURS, label=st.sampled_from([0.0, 1.0]))
FAIL = st.builds(
    Fail,
    step=st.sampled_from(STEPS),
    how=st.sampled_from(["killed", "killed", "aborted"]),
    done=st.booleans(),
    kept=st.sampled_from(["kept", "kept", "lost", "old"]),
)
SETTLE = st.builds(Settle, slot=st.sampled_from(SLOTS), rounds=st.integers(1, 4))
COME = st.builds(Come, slot=st.sampled_from(SLOTS))
GO = st.builds(Go, slot=st.sampled_from(SLOTS))


class Killed(Exception):  # noqa: N818 - says what happened to the process
    """The process is gone at this step: nobody cleans up."""


@dataclass(slots=True)
class Fate:
    """Fails once where it is told to."""

    next: Fail | None = None
    met: list[Fail] = field(default_factory=list)

    def strike(self, step: Step, *, done: bool) -> None:
        if self.next is not None and (self.next.step, self.next.done) == (step, done):
            fail, self.next = self.next, None
            self.met.append(fail)
            aborts = fail.how == "aborted" and not done and step in ("send", "offsets", "commit")
            raise Aborted(f"at {step}") if aborts else Killed(f"at {step}")


class FragileJoin(JoinTask):
    """A join that may die in its own part of the steps."""

    fate: Fate

    def refresh(self) -> bool:
        self.fate.strike("poll", done=False)
        return super().refresh()

    def restore(self, positions: Mapping[TopicPartition, Position]) -> Iterator[None]:
        for _ in super().restore(positions):
            self.fate.strike("restore", done=False)
            yield
        self.fate.strike("restore", done=True)

    def process(self, polled: Polled) -> Staged:
        self.fate.strike("process", done=False)
        staged = super().process(polled)
        self.fate.strike("process", done=True)
        return staged

    def committed(self, positions: Mapping[TopicPartition, Position]) -> None:
        self.fate.strike("adopt", done=False)
        super().committed(positions)
        self.fate.strike("adopt", done=True)


class _FragileProducer:
    """A transactional producer that may fail in each of its steps."""

    def __init__(self, producer: TransactionalProducer, fate: Fate) -> None:
        self._producer = producer
        self._fate = fate
        self.abort, self.close = producer.abort, producer.close

    def begin(self) -> None:
        self._at("begin", self._producer.begin)

    def send(self, messages: Iterable[Message]) -> None:
        self._at("send", lambda: self._producer.send(messages))

    def send_offsets(self, consumer: Consumer, offsets: Mapping[TopicPartition, Position]) -> None:
        self._at("offsets", lambda: self._producer.send_offsets(consumer, offsets))

    def commit(self) -> None:
        self._at("commit", self._producer.commit)

    def _at(self, step: Step, act: Callable[[], None]) -> None:
        self._fate.strike(step, done=False)
        act()
        self._fate.strike(step, done=True)


class _Fragile:
    """A broker whose transactions may fail."""

    def __init__(self, broker: Broker, fate: Fate) -> None:
        self._broker = broker
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        return _FragileProducer(self._broker.transactional(transactional_id), self._fate)


class Process:
    """A join in a slot."""

    def __init__(self, story: Story, slot: str) -> None:
        broker = cast("Broker", _Fragile(story.broker, story.fate))
        ticks = itertools.count()
        self.catalog = Catalog(broker, story.names)
        # Every look at a clock finds that a second has passed: it looks elsewhere whenever it may.
        self.task = FragileJoin(self.catalog, broker, story.cache(slot), now=lambda: float(next(ticks)))
        self.task.fate = story.fate
        self.loop = Loop(
            self.task, broker, service="ingest", prefix=story.names.prefix, slot=slot, telemetry=off()
        )


# -- the story


class Story:
    """Joins on a broker, and everything they were given.

    Args:
        folder: of the caches; None for joins that keep nothing.
        prefix: of the names of this story alone.
    """

    def __init__(self, broker: Broker, folder: Path | None, *, prefix: str = "penstock.") -> None:
        self.broker = broker
        self.names = Names(prefix)
        self.fate = Fate()
        self.predictions: list[Predict] = []
        self.labels: list[Label] = []
        self.processes: dict[str, Process] = {}
        self.zombies: list[Process] = []
        self.folder = folder
        self._codec = Codec()
        self.pipeline = Pipeline.read(SMALL)
        broker.create(topics(prefix))
        broker.create(topics(prefix, pipeline=self.pipeline.name, horizon=HORIZON))
        layout = self.pipeline.name, self.pipeline.features_digest, self.pipeline.feature_names
        self._rows = self._codec.rows(Prediction, *layout)
        self._codec.rows(Outcome, *layout)
        self._producer = broker.producer()
        publish_schemas(broker, self.names, set(), self._codec.texts())
        partitions = broker.topics()[self.names.of("pipelines")]
        self._send(apply_messages(self.names, self.pipeline, self._codec, partitions=partitions, now=0))

    def cache(self, slot: str) -> Cache | None:
        return None if self.folder is None else Rocks(self.folder / slot, megabytes=16)

    def happen(self, what: object) -> None:
        match what:
            case Predict() | Label():
                self.give(what)
            case Settle():
                for _ in range(what.rounds):
                    self.step(what.slot)
            case Fail():
                self.fate.next = what
            case Come() if what.slot not in self.processes:
                self.start(what.slot)
            case Go() if what.slot in self.processes:
                self.end(what.slot, "kept")
                if isinstance(self.broker, MemoryBroker):
                    self.broker.lapse(f"{self.names.prefix}join", what.slot)

    def give(self, *those: Predict | Label) -> None:
        """Write to the inputs."""
        messages = []
        for what in those:
            if isinstance(what, Predict):
                self.predictions.append(what)
                head = prediction(what.name, what.time * HOUR, origin=what.origin)
                [payload] = self._rows.encode([head], np.array([NOBODY]))
                topic = self.names.of("predictions", self.pipeline.name)
                messages.append(Message(topic, payload, what.name.encode()))
            else:
                label = Label(id=what.id, time=what.time * HOUR, label=what.label)
                self.labels.append(label)
                topic = self.names.of("labels", self.pipeline.name)
                messages.append(Message(topic, self._codec.encode(label), label.id.encode()))
        self._send(messages)

    def step(self, slot: str) -> bool:
        """One round of the process in a slot, if there is one; whether anything was done."""
        process = self.processes.get(slot)
        if process is None:
            return False
        try:
            return process.loop.step()
        except Killed:
            self.end(slot, self.fate.met[-1].kept)
            self.start(slot)
            return True

    def start(self, slot: str) -> None:
        self.processes[slot] = Process(self, slot)

    def end(self, slot: str, kept: Kept) -> None:
        """A process is gone; what becomes of its files."""
        process = self.processes.pop(slot)
        self.zombies.append(process)
        process.task.close()
        if self.folder is None:
            return
        folder, old = self.folder / slot, self.folder / f"{slot}-old"
        if not folder.exists():
            return
        if not old.exists():
            shutil.copytree(folder, old)
        if kept != "kept":
            shutil.rmtree(folder)
        if kept == "old":
            shutil.copytree(old, folder)

    def rest(self) -> None:
        """Until nobody has anything to do any more; a first process begins if there is none."""
        if not self.processes:
            self.start("0")
        quiet = 0
        while quiet < 6:  # aborted rounds, and those in which others are waited for, bring nothing, too
            busy = [self.step(slot) for slot in list(self.processes)]
            quiet = 0 if any(busy) else quiet + 1

    def done(self) -> bool:
        """Whether every partition is somebody's, was read to its end, and is where event time is."""
        places = [place for process in self.processes.values() for place in process.task.parts]
        if sorted(place.partition for place in places) != [0, 1, 2]:
            return False
        return all(self._through(process) for process in self.processes.values())

    def _through(self, process: Process) -> bool:
        positions = process.loop._positions
        ends = self.broker.ends(positions)
        return not process.loop.restoring and all(
            part.idle
            and part.watermark == self.watermark()
            and all(positions[each].offset == ends[each][1] for each in (part.predictions, part.labels))
            for part in process.task.parts.values()
        )

    def close(self) -> None:
        for process in [*self.processes.values(), *self.zombies]:
            process.task.close()
            process.loop.close()
            process.catalog.close()
        self._producer.close()

    def watermark(self) -> int | None:
        """How far event time has come, once everything was read."""
        clock = [each.time * HOUR for each in self.predictions if each.origin is Origin.STREAM]
        return max([*clock, *(label.time for label in self.labels)], default=None)

    def events(self) -> list[tuple[int, Any]]:
        """What stands on the outcomes, with its partition."""
        topic = self.names.of("outcomes", self.pipeline.name)
        wanted = {TopicPartition(topic, number) for number in range(self.broker.topics()[topic])}
        reader = self.broker.reader(dict.fromkeys(wanted, 0))
        found: list[tuple[int, Any]] = []
        ended: frozenset[TopicPartition] = frozenset()
        while not wanted <= ended:
            polled = reader.poll(1000, 0.1)
            ended = polled.ended
            found += [
                (each.partition, self._codec.decode(each.value or b"").value) for each in polled.records
            ]
        reader.close()
        return found

    def _send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            assert self._producer.send(message)
        assert self._producer.flush(30.0) == 0
        assert self._producer.failed() == 0


# -- what must have come of it


def check(story: Story, *, counts: bool = True) -> None:
    """Everything that is on the outcomes is what the oracle says, once; and so are the counts."""
    events = [event for _, event in story.events()]
    watermark = story.watermark()
    _check_fates(story, [event for event in events if isinstance(event, Outcome)], watermark)
    _check_alone(story, [event.id for event in events if isinstance(event, LabelUnmatched)], watermark)
    if counts:
        _check_counts(story, events)


def _check_fates(story: Story, outcomes: Sequence[Outcome], watermark: int | None) -> None:
    first = {Identity(each.name, each.origin): each.time * HOUR for each in reversed(story.predictions)}
    fates = {
        Identity(each.id, each.origin): Fated(WHAT[each.kind], each.label, each.label_time)
        for each in outcomes
    }
    assert fates.keys() <= first.keys()
    for identity, time in first.items():
        labels = [label for label in story.labels if label.id == identity.id]
        assert fates.get(identity, Fated(WAITING)) == oracle(time, labels, HORIZON, watermark), identity
    chains: defaultdict[Identity, list[OutcomeKind | None]] = defaultdict(lambda: [None])
    for each in outcomes:
        before = chains[Identity(each.id, each.origin)]
        assert each.kind in AFTER[before[-1]], (each, before)
        before.append(each.kind)
    written = Counter((each.id, each.origin, each.kind, each.label, each.label_time) for each in outcomes)
    assert set(written.values()) <= {1}, "an outcome is written once"


def _check_alone(story: Story, unmatched: Sequence[str], watermark: int | None) -> None:
    predicted = {each.name for each in story.predictions}
    alone = {
        label.id
        for label in story.labels
        if label.id not in predicted and watermark is not None and label.time + HORIZON < watermark
    }
    assert alone == set(unmatched) - predicted
    assert len(set(unmatched)) == len(unmatched), "and said once"


def _check_counts(story: Story, events: Sequence[object]) -> None:
    """Those that are functions of what there is, whoever counted when."""
    advanced = [event for event in events if isinstance(event, JoinAdvanced)]
    outcomes = [event for event in events if isinstance(event, Outcome)]
    identities = {(each.name, each.origin) for each in story.predictions}
    distinct = {(label.id, label.time, label.label) for label in story.labels}
    assert sum(each.repeats for each in advanced) == len(story.predictions) - len(identities)
    assert sum(each.duplicate_labels for each in advanced) == len(story.labels) - len(distinct)
    if all(each.origin is Origin.STREAM for each in story.predictions):
        decided = {each.id for each in outcomes}
        named = [each for each in outcomes if each.label is not None]
        its = [each for each in distinct if each[0] in decided]
        assert sum(each.stale_labels for each in advanced) == len(its) - len(named)
    last = max((each.watermark for each in advanced if each.watermark is not None), default=None)
    assert last == story.watermark(), "read to its end, an input holds nobody up"
