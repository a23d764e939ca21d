"""The trainer's shell: a job that was taken up is done, and done once, whatever becomes of its process.

The child is played by hand here: a job takes until the test lets it end.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import orjson
import pytest

from penstock.contracts.records import (
    CandidateTrained,
    JobCompleted,
    JobFailed,
    ModelRegistered,
    RetrainRequested,
)
from penstock.runtime.broker import Broker, Message, Record, TopicPartition
from penstock.runtime.catalog import Catalog
from penstock.trainer.inline import attempt
from penstock.trainer.request import Failed, Request, Result
from penstock.trainer.task import TrainerTask
from tests.conformance.cases import CASES, Stage, recorded
from tests.scenarios.fragile import STEPS, FragileBroker, Killed, Step

DECISIONS = "penstock.decisions"


@dataclass
class ByHand:
    """A worker whose job ends when it is told to.

    Args:
        given: the jobs that it was given.
        kills: how often it was killed with a job under way.
    """

    given: list[Request] = field(default_factory=list)
    kills: int = 0
    _job: Request | None = None
    _ends: bool = False

    @property
    def busy(self) -> bool:
        return self._job is not None

    def start(self) -> None:
        """Nothing to do."""

    def submit(self, request: Request) -> None:
        assert not self.busy
        self.given.append(request)
        self._job = request

    def end(self) -> None:
        assert self.busy
        self._ends = True

    def poll(self) -> Result | Failed | None:
        if self._job is None or not self._ends:
            return None
        job, self._job, self._ends = self._job, None, False
        return attempt(job)

    def kill(self) -> None:
        self.kills += self.busy
        self._job, self._ends = None, False


class Story:
    """The trainer alone, asked for the first training of the recorded days."""

    def __init__(self) -> None:
        self.workers: list[ByHand] = []
        self.stage = Stage(CASES["trainer"], broker=FragileBroker, make=self._make)
        self.system = self.stage.system
        decisions = [record for record in recorded() if record.topic == DECISIONS]
        [self.asked] = [record for record in decisions if self.is_training(record)]
        for record in decisions:
            if record.timestamp < self.asked.timestamp:
                self.stage.write(record)
        self.stage.rest()

    def _make(self, catalog: Catalog, broker: Broker) -> TrainerTask:
        self.workers.append(ByHand())
        return TrainerTask(catalog, broker, self.workers[-1])

    def is_training(self, record: Record) -> bool:
        return isinstance(self.system.decode(record.value or b""), RetrainRequested)

    @cached_property
    def decision(self) -> RetrainRequested:
        decision = self.system.decode(self.asked.value or b"")
        assert isinstance(decision, RetrainRequested)
        return decision

    @property
    def worker(self) -> ByHand:
        """Of the process that lives now."""
        return self.workers[-1]

    @property
    def broker(self) -> FragileBroker:
        assert isinstance(self.system.broker, FragileBroker)
        return self.system.broker

    def ask(self, decision: RetrainRequested | None = None) -> None:
        """The governor asks; the trainer takes what it can."""
        self.write(decision or self.decision)
        self.stage.rest()

    def write(self, decision: RetrainRequested) -> None:
        payload = self.system.codec.encode(decision)
        self.broker.append(Message(DECISIONS, payload, self.asked.key, (), self.asked.partition))

    def die(self) -> None:
        """The process is gone at once; another one takes its slot."""
        self.system.restart("trainer")
        self.stage.rest()

    def finish(self) -> None:
        self.worker.end()
        self.stage.rest()

    def came(self) -> list[Any]:
        """What has come of trainings: the baseline's is left out."""
        events = [*self.system.events("candidates"), *self.system.events("jobs")]
        return [
            event for event in events if isinstance(event, JobFailed) or event.decision in self.trainings()
        ]

    def trainings(self) -> set[str]:
        asked = [record for record in self.broker.records(DECISIONS) if self.is_training(record)]
        return {self.system.decode(record.value or b"").id for record in asked}

    def open(self) -> list[int]:
        """Offsets of the jobs that a process taking over would do, by the committed position."""
        where = TopicPartition(DECISIONS, self.asked.partition)
        metadata = self.broker.groups["penstock.trainer"][where].metadata
        return list(orjson.loads(metadata)) if metadata else []


def kinds(events: list[Any]) -> list[tuple[str, str]]:
    return [(type(event).__name__, event.decision) for event in events]


def undisturbed() -> list[Any]:
    story = Story()
    story.ask()
    story.finish()
    return story.stage.outputs()


def test_a_decision_is_committed_when_it_is_taken_and_its_job_ends_once() -> None:
    story = Story()
    story.ask()
    [offset] = story.open()
    assert (
        story.broker.groups["penstock.trainer"][TopicPartition(DECISIONS, story.asked.partition)].offset
        == offset + 1
    )
    assert story.came() == []
    story.finish()
    assert story.open() == []
    name = story.decision.id
    assert kinds(story.came()) == [("CandidateTrained", name), ("JobCompleted", name)]


def test_a_process_killed_during_a_job_is_followed_by_one_that_does_it_anew() -> None:
    story = Story()
    story.ask()
    for _ in range(3):
        story.die()
        assert story.came() == []
        assert len(story.open()) == 1
    story.finish()
    assert [len(worker.given) for worker in story.workers] == [1, 1, 1, 1]
    first, *others = [worker.given[0] for worker in story.workers]
    for other in others:
        assert np.array_equal(other.rows, first.rows, equal_nan=True)
        assert np.array_equal(other.labels, first.labels)
        assert (other.seed, other.champion) == (first.seed, first.champion)
    assert story.stage.outputs() == undisturbed()
    story.die()
    assert story.worker.given == [], "it is done"


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_a_process_killed_while_it_writes_what_came_of_a_job_leaves_one_candidate(
    step: Step, done: bool
) -> None:
    story = Story()
    story.ask()
    story.broker.kill(step, done=done)
    with pytest.raises(Killed):
        story.finish()
    story.die()
    committed = step == "commit" and done
    assert len(story.worker.given) == (0 if committed else 1)
    if not committed:
        story.finish()
    assert story.stage.outputs() == undisturbed()
    assert story.open() == []


@pytest.mark.parametrize("done", [False, True])
# There is nothing to send yet, so it cannot die of that.
@pytest.mark.parametrize("step", [step for step in STEPS if step != "send"])
def test_a_process_killed_while_it_takes_a_decision_forgets_none(step: Step, done: bool) -> None:
    story = Story()
    story.broker.kill(step, done=done)
    with pytest.raises(Killed):
        story.ask()
    story.die()
    assert len(story.worker.given) == 1
    story.finish()
    assert story.stage.outputs() == undisturbed()


def test_where_a_transaction_is_aborted_the_job_begins_anew() -> None:
    story = Story()
    story.ask()
    story.broker.abort("commit")
    story.finish()
    assert story.came() == []
    assert len(story.worker.given) == 2
    story.finish()
    assert story.stage.outputs() == undisturbed()


def test_a_newer_request_supersedes_one_under_way() -> None:
    story = Story()
    story.ask()
    newer = replace(story.decision, id="newer", cut=story.decision.cut - 3_600_000)
    story.ask(newer)
    [failed] = story.came()
    assert isinstance(failed, JobFailed)
    assert failed.decision == story.decision.id
    assert failed.reason == "superseded: decision newer asks for another"
    assert [cause.offset + 1 for cause in failed.causes] == story.open()
    assert (story.worker.kills, len(story.worker.given)) == (1, 2)
    story.die()
    assert len(story.worker.given) == 1, "only the newer one is done anew"
    story.finish()
    assert kinds(story.came()) == [
        ("CandidateTrained", "newer"),
        ("JobFailed", story.decision.id),
        ("JobCompleted", "newer"),
    ]
    [candidate] = [event for event in story.came() if isinstance(event, CandidateTrained)]
    assert candidate.manifest.cut == newer.cut


def test_a_newer_request_supersedes_one_that_waits_though_not_another_pipelines() -> None:
    story = Story()
    spec = story.decision.spec.replace('"pipeline":"churn"', '"pipeline":"leads"')
    other = replace(story.decision, id="other", pipeline="leads", spec=spec, champion=None)
    story.ask(other)
    story.write(story.decision)
    story.write(replace(story.decision, id="newer"))
    story.stage.rest()
    assert kinds(story.came()) == [("JobFailed", story.decision.id)]
    assert len(story.worker.given) == 1, "one job at a time"
    story.die()
    assert len(story.open()) == 2
    story.finish()
    story.finish()
    assert sorted(kinds([event for event in story.came() if isinstance(event, JobCompleted)])) == [
        ("JobCompleted", "newer"),
        ("JobCompleted", "other"),
    ]
    assert story.open() == []


def test_a_decision_that_cannot_be_read_as_it_stands_fails_and_holds_up_nobody() -> None:
    story = Story()
    story.ask(replace(story.decision, spec="[]"))
    [failed] = story.came()
    assert failed.reason == "refused: the spec of churn is not valid: expected an object, got a list"
    assert story.open() == []
    story.ask(replace(story.decision, id="better"))
    story.finish()
    assert ("JobCompleted", "better") in kinds(story.came())


def test_a_champion_of_other_features_is_not_compared_with() -> None:
    story = Story()
    story.ask()
    story.finish()
    [candidate] = [event for event in story.came() if isinstance(event, CandidateTrained)]
    model = ModelRegistered(
        pipeline="churn", version=1, candidate=candidate.id, manifest=candidate.manifest, causes=()
    )
    payload = story.system.codec.encode(model)
    story.broker.append(Message("penstock.models", payload, b"churn/000001", (), story.asked.partition))
    again = replace(story.decision, id="again", champion=1, champion_cut=story.decision.cut)
    story.ask(again)
    story.finish()
    spec = orjson.loads(story.decision.spec)
    spec["features"].append({"seats": "number"})
    story.ask(replace(again, id="wider", spec=orjson.dumps(spec).decode()))
    story.finish()
    assert [job.champion is None for job in story.worker.given] == [True, False, True]
    assert ("JobCompleted", "wider") in kinds(story.came())
