"""Every task that consumes, processes and produces, and days of records to try it on.

In these days labels come, are revised, or come late; the first training is asked for, its version is a
shadow, then a canary. Every task has its part in that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.cli.backtest.system import TASKS, MakeTask
from penstock.contracts.records import (
    CandidateTrained,
    GovernorState,
    JobCompleted,
    LabelUnmatched,
    Outcome,
    Summary,
    VersionRegistered,
    VersionStaged,
)
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.broker import Message, Record, Topic
from penstock.runtime.memory import MemoryBroker
from penstock.runtime.topics import topics
from tests.scenarios.system import CHURN, HOUR, PREFIX, System

SPEC: dict[str, Any] = {
    **CHURN,
    "labels": {**dict(CHURN["labels"]), "horizon": "12h"},  # type: ignore[call-overload] # a mapping
    "lanes": {"lines": {"algorithm": "logistic_regression"}},
    "policy": {
        "first_training": "12h",
        "alarm": {"block": "2h"},
        "compare": {"block": "2h"},
        "canary": {"each": "6h"},
    },
}
PIPELINE = Pipeline.read(SPEC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A task and what it promises.

    Args:
        name: of the task.
        service: whose dead letters it writes.
        inputs: full names of the topics it consumes.
        outputs: full names of the topics it writes.
        essence: what its outputs come to, whatever the offsets of its inputs are.
        repeats: what a second copy of every input record leaves as it was.
        verbatim: outputs that hold their inputs' bytes.
        at_once: how many inputs it finds at a time; one where they answer each other.
        reasons: why it refuses what cannot be decoded.
    """

    name: str
    service: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    essence: Callable[[System], object]
    repeats: Callable[[System], object]
    verbatim: tuple[str, ...] = ()
    at_once: int = 5
    reasons: frozenset[str] = frozenset({"undecodable", "empty"})

    def letters(self, system: System) -> list[Record]:
        """Its dead letters, of this pipeline or all."""
        own = f"dead-letters.{self.service}"
        found = [topic for topic in system.broker.topics() if topic.endswith(own)]
        return [record for topic in found for record in system.broker.records(topic)]


def _values(system: System, *names: str) -> list[bytes]:
    return sorted(record.value or b"" for name in names for record in system.broker.records(name))


def _sums(system: System) -> object:
    """Summaries add up to the same, however many there are."""
    found = [event for event in system.events("summaries") if isinstance(event, Summary)]
    blocks = [block for event in found for block in event.time_blocks]
    return (
        sum(event.rows for event in found),
        sum(event.repeats for event in found),
        sum(event.unmatched_labels for event in found),
        sum(block.rows for event in found for block in event.row_blocks),
        sorted({(block.start, block.kind) for block in blocks}),
        sum(block.rows for block in blocks),
    )


def _fates(system: System) -> object:
    decided = (Outcome, LabelUnmatched)
    return sorted(repr(event) for event in system.events("outcomes", "churn") if isinstance(event, decided))


def _decisions(system: System) -> object:
    states = {event.pipeline: event for event in system.events("governor-state")}
    assert all(isinstance(state, GovernorState) for state in states.values())
    return [type(event) for event in system.events("decisions")], [
        (state.pipeline, state.stage, state.champion, state.decided) for state in states.values()
    ]


def _made(system: System) -> object:
    events = [*system.events("candidates"), *system.events("jobs")]
    assert {type(event) for event in events} == {CandidateTrained, JobCompleted}
    assert {event.manifest.lane for event in events if isinstance(event, CandidateTrained)} == {
        "baseline",
        "lines",
    }
    return len({event.id for event in events}), len(set(_values(system, "penstock.chunks")))


def _registered(system: System) -> object:
    events = system.events("lifecycle")
    assert {type(event) for event in events} == {VersionRegistered, VersionStaged}
    counts = [len(system.events(topic)) for topic in ("models", "routes")]
    return [(event.id, event.version, event.stage) for event in events], counts


def _found(system: System) -> object:
    return [(type(event), event.id, event.time) for event in system.events("evidence")]


CASES = {
    case.name: case
    for case in (
        Case(
            name="intake",
            service="ingest",
            inputs=("crm.events", "crm.outcomes"),
            outputs=("penstock.churn.features", "penstock.churn.labels", "penstock.churn.quality"),
            essence=lambda system: _values(system, "penstock.churn.features", "penstock.churn.labels"),
            # An event that comes again soon is seen; of a label, and after a restart, the join makes nothing.
            repeats=lambda system: set(_values(system, "penstock.churn.features", "penstock.churn.labels")),
        ),
        Case(
            name="inference",
            service="inference",
            inputs=("penstock.churn.features",),
            outputs=("penstock.churn.predictions",),
            essence=lambda system: _values(system, "penstock.churn.predictions"),
            # Answered again, and alike: the join counts it.
            repeats=lambda system: set(_values(system, "penstock.churn.predictions")),
        ),
        Case(
            name="join",
            service="ingest",
            inputs=("penstock.churn.predictions", "penstock.churn.labels"),
            outputs=("penstock.churn.outcomes",),
            essence=_fates,
            repeats=_fates,
        ),
        Case(
            name="summarise",
            service="ingest",
            inputs=("penstock.churn.predictions", "penstock.churn.outcomes", "penstock.churn.quality"),
            outputs=("penstock.summaries",),
            essence=_sums,
            # It counts what lies in the log, where its inputs put each record once; the chain never repeats.
            repeats=lambda system: (
                len({each.sequence for each in system.events("summaries")})
                == max(each.sequence for each in system.events("summaries")) + 1
            ),
        ),
        Case(
            name="monitor",
            service="monitor",
            inputs=("penstock.summaries",),
            outputs=("penstock.evidence", "penstock.monitor-state"),
            essence=_found,
            repeats=_found,
            reasons=frozenset({"undecodable", "empty", "misplaced"}),
        ),
        Case(
            name="governor",
            service="governor",
            inputs=("penstock.pipelines", "penstock.lifecycle", "penstock.jobs", "penstock.evidence"),
            outputs=("penstock.decisions", "penstock.governor-journal", "penstock.governor-state"),
            essence=_decisions,
            repeats=_decisions,
            verbatim=("penstock.governor-journal",),
            at_once=1,
        ),
        Case(
            name="trainer",
            service="trainer",
            inputs=("penstock.decisions",),
            outputs=("penstock.chunks", "penstock.candidates", "penstock.jobs"),
            essence=_made,
            # The same bytes under the same ids: the registry takes them in once.
            repeats=_made,
            at_once=1,  # of two trainings the newer supersedes the older
        ),
        Case(
            name="registry",
            service="registry",
            inputs=("penstock.candidates", "penstock.decisions"),
            outputs=("penstock.models", "penstock.lifecycle", "penstock.routes"),
            essence=_registered,
            repeats=_registered,
        ),
    )
}


@functools.cache
def recorded() -> Sequence[Record]:
    """Everything on all topics after days of everything, in the order it was written."""
    system = System(TASKS)
    system.apply(SPEC)
    system.settle()
    events: list[Mapping[str, object]] = [
        {
            "event_id": f"c-{number:02d}",
            "at": number * HOUR,
            "age": 20 + number,
            "plan": "free" if number % 3 else None,
        }
        for number in range(80)
    ]
    labels: list[Mapping[str, object]] = [
        {"event_id": event["event_id"], "at": (number + 2) * HOUR, "churned": int(number % 3 == 0)}
        for number, event in enumerate(events[:70])
        if number % 8
    ]
    labels += [
        {**labels[3], "churned": 1, "at": 9 * HOUR},  # revised
        labels[4],  # again
        {"event_id": "c-00", "at": 90 * HOUR, "churned": 1},  # late
        {"event_id": "nobody", "at": 1 * HOUR, "churned": 1},
    ]
    for start in range(0, 96, 8):
        hours = range(start * HOUR, (start + 8) * HOUR)
        system.produce("crm.events", *(each for each in events if each["at"] in hours))
        system.settle()
        system.produce("crm.outcomes", *(each for each in labels if each["at"] in hours))
        system.settle()
    found = [record for topic in system.broker.topics() for record in system.broker.records(topic)]
    assert not [record for record in found if "dead-letters" in record.topic]
    return sorted(found, key=lambda record: record.timestamp)


@dataclass(slots=True)
class Stage:
    """One task alone, with what the others had written.

    Args:
        case: the task.
        broker: the kind of broker.
        change: what is done to each record before it is written.
        step: called instead of a step of the task.
        make: the task, where it is not the product's as it is.
    """

    case: Case
    broker: type[MemoryBroker] = MemoryBroker
    change: Callable[[System, Record], Iterable[bytes | None]] = lambda _, record: [record.value]
    step: Callable[[System], bool] | None = None
    make: MakeTask | None = None
    system: System = field(init=False)

    def __post_init__(self) -> None:
        case = self.case
        self.system = System({case.name: self.make or TASKS[case.name]}, broker=self.broker)
        broker = self.system.broker
        broker.create(topics(PREFIX, pipeline=PIPELINE.name, horizon=PIPELINE.labels.horizon))
        broker.create([Topic(name=name, partitions=2) for name in ("crm.events", "crm.outcomes")])
        for record in recorded():
            if record.topic not in case.inputs and record.topic not in case.outputs:
                self.write(record)

    def play(self) -> None:
        """Write the inputs, a few at a time, and let the task do its work."""
        inputs = self.inputs()
        for start in range(0, len(inputs), self.case.at_once):
            for record in inputs[start : start + self.case.at_once]:
                self.write(record)
            self.rest()

    def inputs(self) -> list[Record]:
        return [record for record in recorded() if record.topic in self.case.inputs]

    def write(self, record: Record) -> None:
        for value in self.change(self.system, record):
            self.system.now = record.timestamp - 1  # it is written when it was written
            self.system.broker.append(
                Message(record.topic, value, record.key, record.headers, record.partition)
            )

    def rest(self) -> None:
        """Two rounds without anything to do: an aborted one says so, too."""
        quiet = 0
        while quiet < 2:
            quiet = 0 if self._step() else quiet + 1

    def _step(self) -> bool:
        return self.system.step(self.case.name) if self.step is None else self.step(self.system)

    def outputs(self, *, without: Sequence[str] = ()) -> list[tuple[Any, ...]]:
        """Everything the task has written, but for where it came to lie."""
        return [
            (record.topic, record.partition, record.key, record.value, record.headers)
            for record in self._written()
            if record.topic not in without
        ]

    def _written(self) -> Iterator[Record]:
        for topic in self.case.outputs:
            yield from self.system.broker.records(topic)
        yield from self.case.letters(self.system)
