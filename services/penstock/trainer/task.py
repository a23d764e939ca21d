"""The trainer's shell: decisions in; chunks, candidates and jobs out, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np

from penstock.contracts.records import BaselineRequested, Golden, Source
from penstock.kernel.errors import Invalid
from penstock.kernel.spec import read_spec
from penstock.onnx import Model, digest_of
from penstock.runtime.blobs import chunks
from penstock.runtime.broker import Message, Polled, Record
from penstock.runtime.catalog import Catalog
from penstock.runtime.deadletter import Refused
from penstock.runtime.loop import Staged
from penstock.runtime.task import CatalogTask
from penstock.trainer.domain import baseline, golden_inputs, prior
from penstock.trainer.export import constant

_LIBRARIES = ("onnx", "onnxruntime")


class TrainerTask(CatalogTask):
    """Makes what the governor asked for. A job is a function of its decision, so it needs no state."""

    name = "trainer"

    def __init__(self, catalog: Catalog) -> None:
        super().__init__(catalog, service="trainer")

    def topics(self) -> Sequence[str]:
        return [self.names.of("decisions")]

    def dead_letters(self, topic: str) -> str:  # noqa: ARG002 - one for all control topics
        return self.names.dead_letters("trainer")

    def process(self, polled: Polled) -> Staged:
        messages: list[Message] = []
        refused: list[Refused] = []
        for record in polled.records:
            try:
                decision = self.codec.decode(record.value or b"").value
                if isinstance(decision, BaselineRequested):
                    messages += self._baseline(decision, record)
            except Invalid as why:
                refused.append(Refused(record, why, "train"))
        return Staged(messages=messages, refused=refused)

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
            golden=_golden(artifact, digest, len(pipeline.features)),
            libraries={name: version(name) for name in _LIBRARIES},
        )
        return [
            *chunks(self.names.of("chunks"), artifact, partitions=self.catalog.control),
            self.catalog.control_message("candidates", pipeline.name, candidate),
            self.catalog.control_message("jobs", pipeline.name, job),
        ]


def _golden(artifact: bytes, digest: str, features: int) -> list[Golden]:
    """What the model answers here, so that every other place can compare."""
    inputs = golden_inputs(features)
    answers = Model.load(artifact, digest=digest).run(np.array(inputs, dtype=np.float32))
    return [
        Golden(features=given, scores=tuple(answer))
        for given, answer in zip(inputs, answers.tolist(), strict=True)
    ]
