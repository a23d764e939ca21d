"""The registry's shell: candidates and decisions in; models, lifecycle and routes out, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from penstock.contracts.records import (
    CandidateTrained,
    RouteChanged,
    Source,
    VersionRegistered,
    VersionStaged,
)
from penstock.kernel.errors import Invalid
from penstock.onnx import MAX_BYTES, Model, Refused, check
from penstock.registry.domain import Routing, Versions, register, reroute
from penstock.runtime import deadletter
from penstock.runtime.blobs import read_blob
from penstock.runtime.broker import Broker, Message, Polled, Position, Record, TopicPartition
from penstock.runtime.catalog import Catalog
from penstock.runtime.fold import read_written
from penstock.runtime.loop import Staged
from penstock.runtime.task import CatalogTask


class RegistryTask(CatalogTask):
    """Takes candidates in, once their artifacts have proven themselves here, and routes as decided."""

    name = "registry"

    def __init__(self, catalog: Catalog, broker: Broker) -> None:
        super().__init__(catalog, service="registry")
        self._broker = broker
        self._versions: dict[str, Versions] = {}

    def topics(self) -> Sequence[str]:
        return [self.names.of("candidates"), self.names.of("decisions")]

    def dead_letters(self, topic: str) -> str:  # noqa: ARG002 - one for all control topics
        return self.names.dead_letters("registry")

    def restore(self, positions: Mapping[TopicPartition, Position]) -> Iterator[None]:
        """The versions of each pipeline from `lifecycle`, the epochs in force from `routes`.

        A route that changes no stage, only the canary's share, stands in `routes` alone.
        """
        self._versions = {}
        topics = [self.names.of("lifecycle"), self.names.of("routes")]
        mine = {TopicPartition(topic, where.partition) for topic in topics for where in positions}
        for records in read_written(self._broker, mine):
            for record in records:
                event = self.codec.decode(record.value or b"").value
                if isinstance(event, VersionRegistered | VersionStaged | RouteChanged):
                    self._recall(event)
            yield

    def process(self, polled: Polled) -> Staged:
        messages: list[Message] = []
        refused: list[deadletter.Refused] = []
        candidates = self.names.of("candidates")
        # A decision may be about a candidate of the same batch, never the other way round.
        for record in sorted(polled.records, key=lambda record: record.topic != candidates):
            try:
                messages += self._take_in(record) if record.topic == candidates else self._reroute(record)
            except Invalid as why:
                refused.append(deadletter.Refused(record, why, "register"))
        return Staged(messages=messages, refused=refused)

    def _take_in(self, record: Record) -> list[Message]:
        candidate = self.codec.decode(record.value or b"").value
        if not isinstance(candidate, CandidateTrained):
            raise Invalid(f"a {type(candidate).__name__} is no candidate", reason="unexpected")
        name = candidate.pipeline
        versions = self._versions.get(name, Versions())
        if candidate.id in versions.candidates:
            return []  # before its artifact is run a second time
        done = register(versions, candidate, _place(record), refused=self._judge(candidate))
        if done is None:
            return []
        self._recall(done.registered)
        messages = []
        if done.model is not None:
            key = f"{name}/{done.model.version:06d}"
            messages.append(self.catalog.control_message("models", name, done.model, key=key))
        messages.append(self.catalog.control_message("lifecycle", name, done.registered))
        if done.route is not None:
            self._recall(done.route)
            messages.append(self.catalog.control_message("routes", name, done.route))
        return messages

    def _reroute(self, record: Record) -> list[Message]:
        decision = self.codec.decode(record.value or b"").value
        if not isinstance(decision, Routing):
            return []  # the trainer's, or an operator's
        name = decision.pipeline
        done = reroute(self._versions.get(name, Versions()), decision, _place(record))
        if done is None:
            return []
        for staged in done.staged:
            self._recall(staged)
        self._recall(done.route)
        return [
            *(self.catalog.control_message("lifecycle", name, each) for each in done.staged),
            self.catalog.control_message("routes", name, done.route),
        ]

    def _judge(self, candidate: CandidateTrained) -> str:
        """Why a candidate must not be served; empty where it may."""
        manifest = candidate.manifest
        chunks = self.names.of("chunks")
        try:
            artifact = read_blob(self._broker, chunks, manifest.digest, size=manifest.size, largest=MAX_BYTES)
            check(artifact, features=len(manifest.features), scores=manifest.scores)
            Model.load(artifact, digest=manifest.digest).reproduce(
                [golden.features for golden in manifest.golden],
                [golden.scores for golden in manifest.golden],
            )
        except (Refused, Invalid) as why:
            return str(why)
        return ""

    def _recall(self, event: VersionRegistered | VersionStaged | RouteChanged) -> None:
        self._versions[event.pipeline] = self._versions.get(event.pipeline, Versions()).recall(event)


def _place(record: Record) -> Source:
    return Source(topic=record.topic, partition=record.partition, offset=record.offset)
