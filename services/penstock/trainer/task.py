"""The trainer's shell: decisions in; chunks, candidates and jobs out, in one transaction.

A job runs beside the loop, in a child process, so that the group sees this member alive. The decision's
offset is committed at once and remembered beside the committed position until its job has ended: whoever
takes the partition over does the job anew, and since it is a function of the decision and of its ranges, the
result is the same. Where a partition goes, so does its job.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Protocol

import numpy as np
import orjson

from penstock.contracts.records import BaselineRequested, Golden, ModelRegistered, RetrainRequested, Source
from penstock.kernel.errors import Invalid
from penstock.kernel.pipeline import Pipeline
from penstock.kernel.spec import read_spec
from penstock.onnx import MAX_BYTES, Model, digest_of
from penstock.runtime import logs
from penstock.runtime.blobs import chunks, read_blob
from penstock.runtime.broker import Broker, Message, Polled, Position, Record, TopicPartition
from penstock.runtime.catalog import Catalog
from penstock.runtime.deadletter import Refused
from penstock.runtime.errors import NotYet
from penstock.runtime.fold import Fold, read_range
from penstock.runtime.loop import Staged
from penstock.runtime.task import CatalogTask
from penstock.trainer.asked import request
from penstock.trainer.domain import baseline, golden_inputs, prior
from penstock.trainer.export import constant
from penstock.trainer.manifest import came_to_nothing, trained
from penstock.trainer.outcomes import Outcomes
from penstock.trainer.request import Failed, Request, Result

_LIBRARIES = ("onnx", "onnxruntime", "scikit-learn", "numpy")


class Trains(Protocol):
    """Where jobs run: a child process, or this very thread."""

    @property
    def busy(self) -> bool: ...

    def start(self) -> None: ...

    def submit(self, request: Request, /) -> None: ...

    def poll(self) -> Result | Failed | None: ...

    def kill(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A training that was asked for."""

    decision: RetrainRequested
    source: Source
    content: str = ""


class TrainerTask(CatalogTask):
    """Makes what the governor asked for.

    Args:
        catalog: of schemas and pipelines.
        broker: ranges of outcomes and the champion's artifact are read from it.
        worker: where jobs run.
    """

    name = "trainer"

    def __init__(self, catalog: Catalog, broker: Broker, worker: Trains) -> None:
        super().__init__(catalog, service="trainer")
        self._broker = broker
        self._worker = worker
        self._log = logs.get(component="trainer")
        self._fold = Fold(broker, [self.names.of("models")])
        self._models: dict[tuple[str, int], ModelRegistered] = {}
        self._outcomes: dict[str, Outcomes] = {}
        self._waiting: list[_Job] = []
        self._running: _Job | None = None
        self._ended: Result | Failed | None = None
        worker.start()

    def topics(self) -> Sequence[str]:
        return [self.names.of("decisions")]

    def dead_letters(self, topic: str) -> str:  # noqa: ARG002 - one for all control topics
        return self.names.dead_letters("trainer")

    def close(self) -> None:
        self._worker.kill()
        self._fold.close()

    def refresh(self) -> bool:
        self._learn(self._fold.poll())
        return super().refresh()

    def restore(self, positions: Mapping[TopicPartition, Position]) -> Iterator[None]:
        """The jobs that had not ended, from beside the committed positions; a job of before is given up."""
        if self._running is not None:
            self._worker.kill()
            self._worker.start()
        self._waiting, self._running, self._ended = [], None, None
        for where, position in positions.items():
            for offset in orjson.loads(position.metadata) if position.metadata else []:
                for records in read_range(self._broker, {where: (offset, offset + 1)}):
                    for record in records:
                        self._ask(self.codec.decode(record.value or b"").value, record)
                    yield

    def due(self) -> bool:
        """Whether a job has ended, or one can begin."""
        if self._running is None:
            return bool(self._waiting)
        if self._ended is None:
            self._ended = self._worker.poll()
        return self._ended is not None

    def process(self, polled: Polled) -> Staged:
        messages: list[Message] = []
        refused: list[Refused] = []
        before = self._open()
        for record in polled.records:
            try:
                decision = self.codec.decode(record.value or b"").value
                if isinstance(decision, BaselineRequested):
                    messages += self._baseline(decision, record)
                else:
                    messages += self._ask(decision, record)
            except Invalid as why:
                refused.append(Refused(record, why, "train"))
        while self.due():  # in this thread a job has ended as soon as it has begun
            messages += self._end() if self._ended is not None else self._begin()
        after = self._open()
        changed = {where for where in before | after if before.get(where) != after.get(where)}
        return Staged(
            messages=messages,
            refused=refused,
            metadata={where: orjson.dumps(after.get(where, [])).decode() for where in changed},
        )

    def _ask(self, decision: object, record: Record) -> list[Message]:
        """Queue a training; one of the same pipeline that has not ended is given up for it."""
        if not isinstance(decision, RetrainRequested):
            return []
        source = Source(topic=record.topic, partition=record.partition, offset=record.offset)
        given_up = [job for job in self._waiting if job.decision.pipeline == decision.pipeline]
        self._waiting = [job for job in self._waiting if job not in given_up]
        if self._running is not None and self._running.decision.pipeline == decision.pipeline:
            given_up.append(self._running)
            self._running = self._ended = None
            self._worker.kill()
            self._worker.start()
        self._waiting.append(_Job(decision=decision, source=source))
        why = Failed(reason="superseded", message=f"decision {decision.id} asks for another")
        return [self._nothing(job, why) for job in given_up]

    def _begin(self) -> list[Message]:
        """Read what the next job needs, and begin it."""
        job = self._waiting.pop(0)
        decision = job.decision
        try:
            pipeline = read_spec(decision.pipeline, decision.spec)
            champion = self._champion(decision, pipeline)
        except Invalid as why:
            return [self._nothing(job, Failed(reason="refused", message=str(why)))]
        outcomes = self._outcomes.setdefault(pipeline.name, Outcomes(self._broker, self.codec))
        outcomes.read(decision.ranges)
        rows = outcomes.rows(
            decision.ranges,
            pipeline.feature_names,
            since=decision.since,
            cut=decision.cut,
        )
        if outcomes.too_large:
            del self._outcomes[pipeline.name]
        self._log.info(
            "training", pipeline=pipeline.name, lane=decision.lane, rows=len(rows.times), decision=decision.id
        )
        self._worker.submit(request(pipeline, decision, rows, champion))
        self._running = _Job(decision=decision, source=job.source, content=rows.content)
        return []

    def _end(self) -> list[Message]:
        """What came of the job that has ended."""
        job, outcome = self._running, self._ended
        self._running = self._ended = None
        if job is None or outcome is None:
            raise TypeError("no job has ended")
        if isinstance(outcome, Failed):
            return [self._nothing(job, outcome)]
        pipeline = read_spec(job.decision.pipeline, job.decision.spec)
        candidate, completed = trained(
            pipeline,
            job.decision,
            job.source,
            outcome,
            digest=digest_of(outcome.artifact),
            content=job.content,
            libraries=_libraries(),
        )
        return [
            *chunks(self.names.of("chunks"), outcome.artifact, partitions=self.catalog.control),
            self.catalog.control_message("candidates", pipeline.name, candidate),
            self.catalog.control_message("jobs", pipeline.name, completed),
        ]

    def _nothing(self, job: _Job, why: Failed) -> Message:
        self._log.warning(
            "training_failed", pipeline=job.decision.pipeline, decision=job.decision.id, why=why.message
        )
        event = came_to_nothing(job.decision, job.source, why)
        return self.catalog.control_message("jobs", job.decision.pipeline, event)

    def _champion(self, decision: RetrainRequested, pipeline: Pipeline) -> bytes | None:
        """The artifact of the version that the new one has to stand up to.

        None where that was made of other features: it cannot answer for the rows that there are now.
        """
        if decision.champion is None:
            return None
        key = decision.pipeline, decision.champion
        if key not in self._models:
            self._learn(self._fold.catch_up())
        if key not in self._models:
            raise NotYet(f"version {decision.champion} of {decision.pipeline} is not among the models")
        manifest = self._models[key].manifest
        if tuple(manifest.features) != pipeline.feature_names:
            return None
        where = self.names.of("chunks")
        return read_blob(self._broker, where, manifest.digest, size=manifest.size, largest=MAX_BYTES)

    def _learn(self, records: Iterable[Record]) -> None:
        for record in records:
            model = self.codec.decode(record.value).value if record.value else None
            if isinstance(model, ModelRegistered):
                self._models[model.pipeline, model.version] = model

    def _open(self) -> dict[TopicPartition, list[int]]:
        """Offsets of the decisions whose jobs have not ended, by partition."""
        found: defaultdict[TopicPartition, list[int]] = defaultdict(list)
        for job in [*([] if self._running is None else [self._running]), *self._waiting]:
            found[TopicPartition(job.source.topic, job.source.partition)].append(job.source.offset)
        return dict(found)

    def _baseline(self, decision: BaselineRequested, record: Record) -> list[Message]:
        pipeline = read_spec(decision.pipeline, decision.spec)
        artifact = constant(len(pipeline.features), prior(pipeline))
        digest = digest_of(artifact)
        candidate, job = baseline(
            pipeline,
            decision,
            Source(topic=record.topic, partition=record.partition, offset=record.offset),
            digest=digest,
            size=len(artifact),
            golden=_golden(artifact, digest, pipeline),
            libraries=_libraries(),
        )
        return [
            *chunks(self.names.of("chunks"), artifact, partitions=self.catalog.control),
            self.catalog.control_message("candidates", pipeline.name, candidate),
            self.catalog.control_message("jobs", pipeline.name, job),
        ]


def _libraries() -> dict[str, str]:
    return {name: version(name) for name in _LIBRARIES}


def _golden(artifact: bytes, digest: str, pipeline: Pipeline) -> list[Golden]:
    """What the model answers here, so that every other place can compare."""
    inputs = golden_inputs(len(pipeline.features))
    answers = Model.load(artifact, digest=digest).run(np.array(inputs, dtype=np.float32))
    return [
        Golden(features=given, scores=tuple(answer))
        for given, answer in zip(inputs, answers.tolist(), strict=True)
    ]
