"""How fast a row goes all the way: raw event and label in, joined outcome out, through the real processes.

    python -m benchmarks.path --json

starts the embedded Kafka and all services twice, exactly once and at least once (see at_least_once.py), on
two cores that everything shares, Kafka and this producer included. Rounds of the two alternate, so that
whatever else the machine does meets both; each round sends events and labels as fast as Kafka takes them and
ends when every row has its outcome. The numbers are medians of the rounds:

    rows_per_s                rows from raw event to joined outcome, exactly once
    rows_per_s_at_least_once  the same, at least once
    eos_overhead              share of throughput that exactly-once costs: 1 - exactly / at least once, the
                              median over pairs of rounds side by side; around 0 it is noise
    repeats_at_least_once     rows the other one wrote twice; exactly once there are none, or the run fails
    rss_mb                    resident memory of Kafka and the exactly-once services, after the rounds
    rss_mb_NAME               of each of these processes
    seconds                   of the whole run
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from benchmarks.workload import PIPELINE, Workload
from penstock.broker import EmbeddedKafka
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

    from penstock.runtime.broker import Message

CORES: Final = 2
WARM: Final = 4000
CHUNK: Final = 1000
"""So many events, then their labels, then the next: most labels wait a moment for their prediction."""
BUDGET: Final = 150.0
"""Seconds after which no further round begins, however slow the machine is."""
PATIENCE: Final = 60.0
"""Seconds without one outcome, after which it is over."""


@dataclass(kw_only=True)
class Tenant:
    """One set of services on the common Kafka, with names of its own."""

    name: str
    module: str
    """What runs its services: `python -m MODULE run SERVICE`."""
    bootstrap: str
    folder: Path
    supervisor: Supervisor
    workload: Workload = field(init=False)
    sent: int = 0
    joined: set[bytes] = field(default_factory=set)
    """Ids that have their outcome."""
    repeats: int = 0
    """Outcomes beyond the first of an id."""
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.workload = Workload(tenant=self.name)
        self.broker = KafkaBroker(self.bootstrap)

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


def measure(*, rounds: int, rows: int) -> dict[str, float]:
    """All figures; see the module."""
    began = time.perf_counter()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    lines: list[str] = []
    try:
        with ExitStack() as stack:
            kafka = stack.enter_context(EmbeddedKafka(folder / "kafka"))
            supervisor = stack.enter_context(
                Supervisor(log=lambda name, line: lines.append(f"{name}: {line}"))
            )
            exactly, at_least = tenants = [
                Tenant(
                    name=name,
                    module=module,
                    bootstrap=kafka.bootstrap,
                    folder=folder / name,
                    supervisor=supervisor,
                    log=lines,
                )
                for name, module in (("exactly", "penstock"), ("at-least", "benchmarks.at_least_once"))
            ]
            for tenant in tenants:
                tenant.start()
                stack.callback(tenant.close)
                tenant.round(WARM)
            seconds = _alternate(tenants, rounds=rounds, rows=rows, until=began + BUDGET)
            memory = {"rss_mb_kafka": _megabytes(kafka.pid), **_memory(supervisor, exactly.name)}
            restarts = sum(status.restarts for status in supervisor.states().values())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if restarts or exactly.repeats:
        raise SystemExit(
            "\n".join([*lines[-50:], f"{restarts} processes died, {exactly.repeats} rows were doubled"])
        )
    for line in lines:
        if '"level": "info"' not in line:
            _say(line)
    rates = {name: rows / statistics.median(times) for name, times in seconds.items()}
    pairs = zip(seconds[exactly.name], seconds[at_least.name], strict=True)
    return {
        "rows_per_s": round(rates[exactly.name], 1),
        "rows_per_s_at_least_once": round(rates[at_least.name], 1),
        "eos_overhead": round(1 - statistics.median(other / ours for ours, other in pairs), 4),
        "repeats_at_least_once": at_least.repeats,
        "rss_mb": round(sum(memory.values()), 1),
        **memory,
        "rounds": len(seconds[exactly.name]),
        "rows_per_round": rows,
        "cores": CORES,
        "seconds": round(time.perf_counter() - began, 1),
    }


def _alternate(tenants: Sequence[Tenant], *, rounds: int, rows: int, until: float) -> dict[str, list[float]]:
    """Seconds of each round, by tenant; who begins alternates too."""
    seconds: dict[str, list[float]] = {tenant.name: [] for tenant in tenants}
    for number in range(rounds):
        if number and time.perf_counter() > until:
            break
        for tenant in tenants if number % 2 else reversed(tenants):
            seconds[tenant.name].append(tenant.round(rows))
            _say(f"round {number + 1}: {tenant.name} {rows / seconds[tenant.name][-1]:,.0f} rows/s")
    return seconds


def _memory(supervisor: Supervisor, tenant: str) -> dict[str, float]:
    return {
        f"rss_mb_{name.removeprefix(f'{tenant} ')}": _megabytes(status.process.pid)
        for name, status in supervisor.states().items()
        if name.startswith(f"{tenant} ") and status.process is not None
    }


def _megabytes(pid: int) -> float:
    return round(psutil.Process(pid).memory_info().rss / 1e6, 1)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.path", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="of each kind (%(default)s)")
    parser.add_argument("--rows", type=int, default=20_000, metavar="N", help="in a round (%(default)s)")
    args = parser.parse_args()
    figures = measure(rounds=args.rounds, rows=args.rows)
    if args.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:<26} {value:>12,}")


if __name__ == "__main__":
    main()
