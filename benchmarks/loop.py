"""How long it takes from a decision to train to a version that scores live rows, with the real processes.

    python -m benchmarks.loop --json

starts the embedded Kafka and all services on two cores that everything shares, and sends rows, each with its
label, until the governor asks for the first training; then a few hundred rows at a time, until it asks for
the next. Whenever it has asked, no row is sent until the new version is a shadow: from the moment that the
`RetrainRequested` can be read on `decisions` until inference has said on `replicas` that the version is
loaded. In between lie the training in its child process, the registry, the governor's route, the registry
again, and the load. Counted are the trainings after a first version has become champion, since from then on
each new one is held against it. The figures:

    decision_to_shadow_s        seconds, median
    decision_to_shadow_max_s    the longest
    decision_to_candidate_s     the first part of it, median: what the trainer takes
    candidate_to_route_s        the second: the registry, the governor, the registry again
    route_to_shadow_s           the third: what inference takes to load the version
    decision_to_shadow_first_s  of the first one, for which the trainer reads all its rows from the log
    target_s                    what the median is to stay below
    train_cpu_s                 processor seconds of the trainer and its child for a training, median
    rows                        that a version was made from, median
    trainings                   that were counted
    seconds                     of the whole run
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from benchmarks.tenant import PATIENCE, Tenant, say, two_cores
from benchmarks.workload import PIPELINE, STEP, Workload
from penstock.broker import EmbeddedKafka
from penstock.cli.applied import known_codec
from penstock.cli.supervisor import Supervisor
from penstock.contracts.records import (
    CandidateTrained,
    JobFailed,
    ReplicaReported,
    RetrainRequested,
    RouteChanged,
    Verdict,
    VersionRegistered,
)
from penstock.kernel.units import show_duration
from penstock.runtime.broker import TopicPartition
from penstock.runtime.catalog import Names

if TYPE_CHECKING:
    from collections.abc import Callable

TARGET: Final = 2.0
TOPICS: Final = ("decisions", "jobs", "candidates", "lifecycle", "routes", "replicas")
HORIZON: Final = 120_000
"""Milliseconds of event time; labels come after half of that. A short one, since a version is a shadow for so
long before its canary; and where the many rows before the first training outrun their labels, outcomes are
revised, which the trainer heeds."""
EVERY: Final = 60_000
"""Milliseconds of event time between two trainings."""
FEW: Final = 200
"""Rows sent at a time between two trainings."""
BUDGET: Final = 200.0
"""Seconds after which no further training is waited for, however slow the machine is."""


def rules(rows: int) -> dict[str, object]:
    """One lane that learns from the last so many rows, again and again."""
    window = show_duration(rows * STEP)
    return {
        "lanes": {"trees": {"window": window, "every": show_duration(EVERY)}},
        "policy": {
            "first_training": window,
            "alarm": {"block": "10s"},
            "compare": {"block": "10s"},
            "canary": {"each": "10s"},
            "watch": "1m",
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One of them.

    Args:
        legs: seconds from decision to candidate, to route, to shadow; empty where the gate refused it.
        cpu: seconds of the trainer and its child.
        rows: that it was made from.
        against: the champion that it was held against; None while that is a constant.
    """

    legs: tuple[float, ...]
    cpu: float
    rows: int
    against: int | None

    @property
    def seconds(self) -> float:
        return sum(self.legs)


@dataclass(kw_only=True)
class Watch:
    """Reads what the services say to each other, as it comes."""

    tenant: Tenant
    asked: list[tuple[float, RetrainRequested]] = field(default_factory=list)
    """Every training that was asked for, and when that could be read."""
    registered: dict[str, VersionRegistered] = field(default_factory=dict)
    """What came of a training, by its decision."""
    trained: dict[str, tuple[float, CandidateTrained]] = field(default_factory=dict)
    """The same, and when that could be read."""
    routed: dict[int, float] = field(default_factory=dict)
    """When each version was first in a route."""
    loaded: dict[int, float] = field(default_factory=dict)
    """When each version was first told to be loaded."""

    def __post_init__(self) -> None:
        names = Names(f"{self.tenant.name}.")
        broker = self.tenant.broker
        counts = broker.topics()
        topics = [names.of(topic) for topic in TOPICS]
        where = [TopicPartition(topic, number) for topic in topics for number in range(counts[topic])]
        self._codec = known_codec(broker, names)
        self._reader = broker.reader(dict.fromkeys(where, 0))

    def look(self, seconds: float) -> None:
        """Take in what there is, waiting so long for the first of it."""
        records = self._reader.poll(500, seconds).records
        now = time.perf_counter()
        for record in records:
            self._take(now, self._codec.decode(record.value).value if record.value else None)

    def ended(self, decision: str) -> bool:
        """Whether a training has led to a shadow, or to a version that the gate refused."""
        version = self.registered.get(decision)
        if version is None or decision not in self.trained:
            return False
        shadow = version.version in self.routed and version.version in self.loaded
        return shadow or version.verdict is Verdict.REFUSED

    def close(self) -> None:
        self._reader.close()

    def _take(self, now: float, event: Any) -> None:
        match event:
            case RetrainRequested():
                self.asked.append((now, event))
            case CandidateTrained():
                self.trained.setdefault(event.decision, (now, event))
            case VersionRegistered():
                self.registered[event.decision] = event
            case RouteChanged():
                for version in event.shadows:
                    self.routed.setdefault(version, now)
            case ReplicaReported(pipeline=name, loaded=versions) if name == PIPELINE:
                for version in versions:
                    self.loaded.setdefault(version, now)
            case JobFailed():
                raise SystemExit(f"the training failed: {event.reason}")
            case _:
                pass


def measure(*, trainings: int, rows: int) -> dict[str, float]:
    """All figures; see the module."""
    began = time.perf_counter()
    two_cores()
    folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    lines: list[str] = []
    try:
        with ExitStack() as stack:
            kafka = stack.enter_context(EmbeddedKafka(folder / "kafka"))
            supervisor = stack.enter_context(
                Supervisor(log=lambda name, line: lines.append(f"{name}: {line}"))
            )
            tenant = Tenant(
                module="penstock",
                bootstrap=kafka.bootstrap,
                folder=folder / "loop",
                supervisor=supervisor,
                workload=Workload(tenant="loop", horizon=show_duration(HORIZON), rules=rules(rows)),
                log=lines,
            )
            tenant.start()
            stack.callback(tenant.close)
            watch = Watch(tenant=tenant)
            stack.callback(watch.close)
            cpu = processor(supervisor)
            tenant.round(rows + HORIZON // STEP)
            first = training(tenant, watch, cpu)
            counted: list[Training] = []
            while len(counted) < trainings and time.perf_counter() - began < BUDGET:
                made = training(tenant, watch, cpu)
                if made.legs and made.against is not None:
                    counted.append(made)
            restarts = sum(status.restarts for status in supervisor.states().values())
    except SystemExit as why:
        raise SystemExit("\n".join([*lines[-50:], str(why)])) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if restarts or not counted:
        raise SystemExit(
            "\n".join([*lines[-50:], f"{restarts} processes died, {len(counted)} trainings were counted"])
        )
    legs = zip(*(each.legs for each in counted), strict=True)
    candidate, route, shadow = (round(statistics.median(each), 3) for each in legs)
    return {
        "decision_to_shadow_s": round(statistics.median(each.seconds for each in counted), 3),
        "decision_to_shadow_max_s": round(max(each.seconds for each in counted), 3),
        "decision_to_candidate_s": candidate,
        "candidate_to_route_s": route,
        "route_to_shadow_s": shadow,
        "decision_to_shadow_first_s": round(first.seconds, 3),
        "target_s": TARGET,
        "train_cpu_s": round(statistics.median(each.cpu for each in counted), 3),
        "rows": round(statistics.median(each.rows for each in counted)),
        "trainings": len(counted),
        "seconds": round(time.perf_counter() - began, 1),
    }


def training(tenant: Tenant, watch: Watch, cpu: Callable[[], float]) -> Training:
    """Send rows until a training is asked for, and wait until its version is loaded.

    Args:
        tenant: whose.
        watch: of its topics.
        cpu: processor seconds of the trainer and its child so far.
    """
    before, known = cpu(), len(watch.asked)
    limit = time.perf_counter() + PATIENCE
    while len(watch.asked) == known:
        if time.perf_counter() > limit:
            raise SystemExit("no training was asked for")
        before = cpu()
        tenant.round(FEW)
        watch.look(0.2)
    began, asked = watch.asked[known]
    while not watch.ended(asked.id):
        if time.perf_counter() > began + PATIENCE:
            raise SystemExit("what was trained is no shadow")
        watch.look(0.02)
    version = watch.registered[asked.id]
    trained, candidate = watch.trained[asked.id]
    legs: tuple[float, ...] = ()
    if version.verdict is not Verdict.REFUSED:
        routed, loaded = watch.routed[version.version], watch.loaded[version.version]
        legs = (trained - began, routed - trained, loaded - routed)
    made = Training(legs=legs, cpu=cpu() - before, rows=candidate.manifest.rows, against=asked.champion)
    what = f"{made.seconds:.2f} s" if legs else "refused"
    champion = "a constant" if made.against is None else f"version {made.against}"
    say(
        f"version {version.version}: {what} from {made.rows:,} rows against {champion},"
        f" {made.cpu:.2f} s of CPU"
    )
    return made


def processor(supervisor: Supervisor) -> Callable[[], float]:
    """A clock that shows the processor seconds of the trainer and its child."""
    process = supervisor.states()["loop trainer"].process
    if process is None:
        raise SystemExit("the trainer is not there")
    trainer = psutil.Process(process.pid)

    def seconds() -> float:
        found = [each.cpu_times() for each in (trainer, *trainer.children(recursive=True))]
        return sum(each.user + each.system for each in found)

    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loop", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument(
        "--trainings", type=int, default=7, metavar="N", help="beside the first one (%(default)s)"
    )
    parser.add_argument("--rows", type=int, default=20_000, metavar="N", help="that each learns from")
    args = parser.parse_args()
    figures = measure(trainings=args.trainings, rows=args.rows)
    if args.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:<27} {value:>12,}")


if __name__ == "__main__":
    main()
