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
import shutil
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.tenant import CORES, Tenant, megabytes, say, two_cores
from benchmarks.workload import Workload
from penstock.broker import EmbeddedKafka
from penstock.cli.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM: Final = 4000
BUDGET: Final = 150.0
"""Seconds after which no further round begins, however slow the machine is."""


def measure(*, rounds: int, rows: int) -> dict[str, float]:
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
            exactly, at_least = tenants = [
                Tenant(
                    module=module,
                    bootstrap=kafka.bootstrap,
                    folder=folder / name,
                    supervisor=supervisor,
                    workload=Workload(tenant=name),
                    log=lines,
                )
                for name, module in (("exactly", "penstock"), ("at-least", "benchmarks.at_least_once"))
            ]
            for tenant in tenants:
                tenant.start()
                stack.callback(tenant.close)
                tenant.round(WARM)
            seconds = _alternate(tenants, rounds=rounds, rows=rows, until=began + BUDGET)
            memory = {"rss_mb_kafka": megabytes(kafka.pid), **_memory(supervisor, exactly.name)}
            restarts = sum(status.restarts for status in supervisor.states().values())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if restarts or exactly.repeats:
        raise SystemExit(
            "\n".join([*lines[-50:], f"{restarts} processes died, {exactly.repeats} rows were doubled"])
        )
    for line in lines:
        if '"level": "info"' not in line:
            say(line)
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
            say(f"round {number + 1}: {tenant.name} {rows / seconds[tenant.name][-1]:,.0f} rows/s")
    return seconds


def _memory(supervisor: Supervisor, tenant: str) -> dict[str, float]:
    return {
        f"rss_mb_{name.removeprefix(f'{tenant} ')}": megabytes(status.process.pid)
        for name, status in supervisor.states().items()
        if name.startswith(f"{tenant} ") and status.process is not None
    }


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
