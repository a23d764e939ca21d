"""One set of services on a Kafka that others may share, and the rows that are sent through them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import psutil

from benchmarks.workload import PIPELINE, Workload
from penstock.broker.ports import free_port
from penstock.cli.services import SERVICES
from penstock.cli.supervisor import Child, Supervisor
from penstock.contracts.records import Outcome
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.broker import TopicPartition
from penstock.runtime.codec import row_schema
from penstock.runtime.kafka import KafkaBroker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from penstock.runtime.broker import Message

CORES: Final = 2
CHUNK: Final = 1000
"""So many events, then their labels, then the next: most labels wait a moment for their prediction."""
PATIENCE: Final = 60.0
"""Seconds without one outcome, after which it is over."""


@dataclass(kw_only=True)
class Tenant:
    """One set of services on the common Kafka, with names of its own: those of its workload."""

    module: str
    """What runs its services: `python -m MODULE run SERVICE`."""
    bootstrap: str
    folder: Path
    supervisor: Supervisor
    workload: Workload
    sent: int = 0
    joined: set[bytes] = field(default_factory=set)
    """Ids that have their outcome."""
    repeats: int = 0
    """Outcomes beyond the first of an id."""
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.broker = KafkaBroker(self.bootstrap)

    @property
    def name(self) -> str:
        return self.workload.tenant

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PENSTOCK_BROKER": self.bootstrap,
            "PENSTOCK_PREFIX": f"{self.name}.",
        }

    def start(self) -> None:
        """Apply the pipeline, start the services, and send rows until the first are through."""
        file = self.workload.write(self.folder / "pipeline")
        subprocess.run(
            [sys.executable, "-m", "penstock", "apply", str(file)],
            env={**os.environ, **self.environment},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        environment = {**self.environment, "PENSTOCK_LISTEN": f"127.0.0.1:{free_port()}"}
        self.supervisor.start(
            *(
                Child(
                    name=f"{self.name} {service.name}",
                    argv=(sys.executable, "-m", self.module, "run", service.name),
                    env=environment,
                )
                for service in SERVICES
            )
        )
        topic = f"{self.name}.{PIPELINE}.outcomes"
        partitions = [TopicPartition(topic, number) for number in range(self.broker.topics()[topic])]
        self._reader = self.broker.reader(dict.fromkeys(partitions, 0))
        self._outcome = outcome_fingerprint(file)
        self._producer = self.broker.producer()

    def round(self, rows: int) -> float:
        """Seconds that so many rows take."""
        events, labels = self.workload.rows(self.sent, rows)
        self.sent += rows
        began = time.perf_counter()
        heard = began
        for start in range(0, rows, CHUNK):
            self._send(events[start : start + CHUNK])
            self._send(labels[start : start + CHUNK])
            self._look(0.0)
        self._producer.flush(PATIENCE)
        while len(self.joined) < self.sent:
            heard = time.perf_counter() if self._look(0.05) else heard
            if time.perf_counter() - heard > PATIENCE:
                raise SystemExit("\n".join([*self.log[-50:], f"{len(self.joined)} of {self.sent} outcomes"]))
        return time.perf_counter() - began

    def close(self) -> None:
        self._reader.close()
        self._producer.close()

    def _send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            while not self._producer.send(message):
                self._producer.flush(0.01)

    def _look(self, seconds: float) -> int:
        """How many new outcomes there are."""
        records = self._reader.poll(10_000, seconds).records
        ids = [record.key or b"" for record in records if (record.value or b"")[2:10] == self._outcome]
        before = len(self.joined)
        self.joined.update(ids)
        self.repeats += len(ids) - (len(self.joined) - before)
        return len(ids)


def outcome_fingerprint(file: Path) -> bytes:
    """What a joined row begins with, as other records share its topic."""
    raw = json.loads(file.read_text(encoding="utf-8"))
    for section in ("events", "labels"):
        schema = json.loads((file.parent / raw[section]["format"]["avro"]).read_text(encoding="utf-8"))
        raw[section]["format"] = {"avro": {"schema": schema}}
    pipeline = Pipeline.read(raw)
    return row_schema(
        Outcome.__name__, pipeline.name, pipeline.features_digest, pipeline.feature_names
    ).fingerprint


def two_cores() -> None:
    """Of this process and of all that it starts."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])


def megabytes(pid: int) -> float:
    """Resident memory of a process."""
    return round(psutil.Process(pid).memory_info().rss / 1e6, 1)


def say(line: str) -> None:
    """Beside the figures, which have stdout for themselves."""
    print(line, file=sys.stderr, flush=True)
