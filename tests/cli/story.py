"""A pipeline's life on the broker in memory, from the first day to a forced champion that is taken back.

Governor and registry are the product's own. What monitor, trainer and ingest would have written is written
by hand, so that every number here is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from penstock.contracts import records as r
from penstock.governor.task import GovernorTask
from penstock.kernel.hashing import partition_of
from penstock.onnx import digest_of
from penstock.registry.task import RegistryTask
from penstock.runtime.blobs import chunks
from penstock.runtime.broker import Broker, Message, Polled, TopicPartition
from penstock.runtime.memory.clients import MemoryReader
from penstock.trainer.export import constant
from tests.registry.given import manifest
from tests.scenarios.system import CHURN, DAY, HOUR, System

if TYPE_CHECKING:
    from penstock.runtime.settings import Settings

BEGUN = 1_356_998_400_000  # 2013-01-01
HORIZON = 36 * HOUR
SPEC: dict[str, object] = {
    **CHURN,
    "lanes": {
        "everything": {"algorithm": "hist_gradient_boosting", "window": "expanding", "every": "90d"},
        "recent": {"algorithm": "logistic_regression", "window": "56d", "every": "90d"},
    },
}


class Story:
    """The system, and hands to write into it."""

    def __init__(self, spec: Mapping[str, object] = SPEC) -> None:
        self.system = System({"governor": GovernorTask, "registry": RegistryTask})
        self.system.now = BEGUN
        self.system.apply(spec)
        self.partition = partition_of(b"churn", 3)
        self._ordinal = -1
        self._versions = -1
        self._summaries = -1
        self._settling = False
        self._artifact = constant(2, [0.5])
        for message in chunks("penstock.chunks", self._artifact, partitions=3):
            self.system.broker.append(message)
        self.system.settle()

    def whole(self) -> Story:
        """Everything that can be told of."""
        self.train()
        self.day(28.25)  # the first training is due
        self.train(purpose=r.Purpose.FIRST)
        self.train()
        self.day(29.75)  # an horizon later it answers its first share
        self.day(31.75)
        self.day(33.75)  # and everybody
        self.quality(1, 0.52, until=38)
        self.warn("age")
        self.command(
            r.PromoteVersion(
                id="c0ffee00-0000-4000-8000-000000000000",
                pipeline="churn",
                time=BEGUN + 40 * DAY,
                operator="ada",
                reason="a drill",
                version=0,
                force=True,
            )
        )
        self.day(38.25)
        self.quality(0, 0.69, until=38)
        self.compare(1, against=0, better=0.5, blocks=2)
        self.day(39.25)
        self.degrade(0)
        self.compare(1, against=0, better=3.2, blocks=8)
        self.day(40.25)
        return self

    # -- hands

    def write(self, topic: str, event: object) -> r.Source:
        """An event on a control topic, and where it stands."""
        name = f"penstock.{topic}"
        where = TopicPartition(name, self.partition)
        offset = self.system.broker.ends([where])[where][1]
        self.system.broker.append(
            Message(name, self.system.codec.encode(event), b"churn", (), self.partition)
        )
        return r.Source(topic=name, partition=self.partition, offset=offset)

    def decided(self, *kinds: type) -> list[Any]:
        """Decisions of these kinds, or all."""
        found = self.system.events("decisions")
        return [each for each in found if not kinds or isinstance(each, kinds)]

    def train(self, purpose: r.Purpose | None = None) -> None:
        """Answer the last request."""
        self._versions += 1
        request = self.decided(r.BaselineRequested, r.RetrainRequested)[-1]
        [place] = [
            r.Source(topic=record.topic, partition=record.partition, offset=record.offset)
            for record in self.system.broker.records("penstock.decisions")
            if self.system.decode(record.value or b"").id == request.id
        ]
        trained: Mapping[str, Any] = (
            {
                "lane": request.lane,
                "purpose": purpose or request.purpose,
                "algorithm": request.algorithm,
                "asked": request.event_time,
                "since": request.since,
                "cut": request.cut,
                "rows": 2_800,
                "verdict": r.Verdict.PASSED,
                "metrics": {"loss": 0.51, "prior": 0.69, "rows": 560.0},
            }
            if isinstance(request, r.RetrainRequested)
            else {}
        )
        made = manifest(digest=digest_of(self._artifact), size=len(self._artifact), **trained)
        name = f"candidate-{self._versions}"
        self.write(
            "candidates",
            r.CandidateTrained(
                id=name, pipeline="churn", decision=request.id, causes=(place,), manifest=made
            ),
        )
        self.system.settle()

    def day(self, sealed: float) -> None:
        """Everything up to there is sealed and judged."""
        end = BEGUN + int(sealed * DAY)
        self.evidence(r.Heartbeat, end, begun=BEGUN, sealed=end, rows=int(sealed * 100), epoch=0, ranges=())
        self.system.settle()

    def evidence(self, kind: Any, end: int, /, **fields: Any) -> None:
        """A piece of evidence, and the summary that completed it."""
        self._summaries += 1
        self._ordinal += 1
        summary = r.Summary(
            pipeline="churn",
            partition=2,
            sequence=self._summaries,
            predictions=r.Span(start=100 * self._summaries, end=100 * self._summaries + 50),
            outcomes=r.Span(start=90 * self._summaries, end=90 * self._summaries + 40),
            ordinal=50 * self._summaries,
            rows=50,
            watermark=end + HORIZON,
            idle=False,
            repeats=0,
            duplicate_labels=0,
            stale_labels=0,
            unmatched_labels=0,
            lost=0,
            row_blocks=(),
            scored=(),
            answered=(),
            time_blocks=(),
            taken=(),
        )
        place = self.write("summaries", summary)
        head = {"id": f"{self._ordinal:08x}-0000-5000-8000-000000000000", "pipeline": "churn"}
        known = {"ordinal": self._ordinal, "time": end + HORIZON, "causes": (place,)}
        self.write("evidence", kind(**head, **known, **fields))

    def quality(self, version: int, loss: float, *, until: int) -> None:
        for day in (until - 2, until - 1):
            self.evidence(
                r.QualityMeasured,
                BEGUN + (day + 1) * DAY,
                version=version,
                lane="everything" if version else "baseline",
                start=BEGUN + day * DAY,
                end=BEGUN + (day + 1) * DAY,
                rows=100,
                unlabelled=3,
                loss=loss,
                labels=0.25,
            )

    def compare(self, version: int, *, against: int, better: float, blocks: int) -> None:
        self.evidence(
            r.VersionsCompared,
            BEGUN + 40 * DAY,
            version=version,
            lane="everything",
            against=against,
            against_lane="baseline",
            since=BEGUN + 36 * DAY,
            blocks=blocks,
            rows=25 * blocks,
            mean=-0.17,
            ewma=-0.16,
            bound=0.4,
            clipped=0,
            better=better,
            worse=-2.0,
        )

    def degrade(self, version: int) -> None:
        self.evidence(
            r.PerformanceDegraded,
            BEGUN + 39 * DAY,
            version=version,
            lane="baseline",
            statistic=1234.5,
            threshold=1000.0,
            onset=BEGUN + 36 * DAY,
            blocks=12,
            loss=0.69,
            accepted=0.5,
        )

    def warn(self, feature: str) -> None:
        self.evidence(
            r.DriftWarned,
            BEGUN + 35 * DAY,
            version=1,
            feature=feature,
            statistic="mean",
            before=0.02,
            after=0.8,
            row=61,
        )

    def command(self, command: object) -> None:
        self.write("commands", command)
        self.system.settle()

    # -- for the verbs

    @contextmanager
    def connected(self, _settings: Settings) -> Iterator[Broker]:
        yield self.system.broker

    @contextmanager
    def alive(self, _settings: Settings) -> Iterator[Broker]:
        """The same, with services that go on while somebody waits for what they write."""
        with pytest.MonkeyPatch.context() as patch:
            poll = MemoryReader.poll

            def settled(reader: MemoryReader, limit: int, seconds: float) -> Polled:
                if not self._settling:
                    self._settling = True
                    self.system.settle()
                    self._settling = False
                return poll(reader, limit, seconds)

            patch.setattr(MemoryReader, "poll", settled)
            yield self.system.broker
