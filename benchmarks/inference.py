"""What a request costs: the real inference process beside the least that grpc.aio can do.

    python -m benchmarks.inference --json

starts the embedded Kafka and three servers, each a process of its own on two cores that everything shares,
Kafka and this client included: `penstock run inference`, the same without its log of predictions
(unlogged.py), and a bare echo with the same flags, event loop and handlers (echo.py). The client is
grpc.aio, one channel, a closed loop; a request is one packed raw tensor of one row of 28 floats, the model
100 boosted trees of 31 leaves. Rounds alternate between the servers, so that whatever else the machine does
meets all of them; ratios are taken within a round, and each figure is the median over the rounds:

    p50_vs_echo             median latency at 1 in flight against the echo's (at most 1.2)
    throughput_vs_echo      requests a second at 64 in flight against the echo's (at least 0.8)
    stream_vs_unary         messages a second on 16 streams against calls with 16 in flight (at least 3)
    log_overhead            share of throughput at 64 in flight that the log costs (at most 0.05)
    swap_worst_ms           worst latency in seconds with a swap, above seconds without (at most 5)
    cpu_vs_echo             processor time of the server for a request at 64 in flight, against the echo's
    batch32_rows_per_s      rows a second, 32 in a request, 16 in flight
    p50_us_N                median latency with N in flight
    requests_per_s_N        with N in flight
    messages_per_s_stream   on 16 streams
    rss_mb                  resident memory of the inference process at the end
    seconds                 of the whole run

A swap is a new version from the log: fetched, judged, loaded, warmed and routed to, while 16 calls are in
flight. A missed target is said on stderr, and is no failure of the run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import psutil
import uvloop

from benchmarks.load import SHAPES, Load, requests
from benchmarks.models import boosting
from benchmarks.replica import NAME, Registry, Server, pipeline_of
from benchmarks.tenant import megabytes, say, two_cores
from penstock.broker import EmbeddedKafka

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FEATURES: Final = 28
ANSWER: Final = 118
"""Bytes of an answer: the echo's has as many."""
SWAPS: Final = 9
BUDGET: Final = 150.0
"""Seconds after which no further round begins, however slow the machine is."""
TARGETS: Final[dict[str, tuple[str, float]]] = {
    "p50_vs_echo": ("at most", 1.2),
    "throughput_vs_echo": ("at least", 0.8),
    "stream_vs_unary": ("at least", 3.0),
    "log_overhead": ("at most", 0.05),
    "swap_worst_ms": ("at most", 5.0),
    "stream_scoring_rows_per_s_per_core": ("at least", 200_000),
    "stream_scoring_vs_loop": ("at least", 2.5),
}


class Target:
    """One of the servers under load."""

    def __init__(self, server: Server, matrix: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
        self.server = server
        self.load = Load(server.address)
        self.one = requests(NAME, matrix)
        self.batch = requests(NAME, matrix, rows=32)
        self._process = psutil.Process(server.pid)

    def cpu(self) -> float:
        """Processor seconds until now."""
        times = self._process.cpu_times()
        return float(times.user + times.system)


Round = dict[str, float]


async def unary(target: Target, round_: Round, name: str, *, in_flight: int, seconds: float) -> None:
    """One stretch of calls; what it found goes into the round under the server's name."""
    before = target.cpu()
    took = await target.load.unary(target.one, in_flight=in_flight, seconds=seconds)
    round_[f"{name}_rate_{in_flight}"] = len(took) / seconds
    round_[f"{name}_p50_{in_flight}"] = statistics.median(took) * 1e6
    round_[f"{name}_cpu_{in_flight}"] = (target.cpu() - before) / len(took) * 1e6


async def one_round(targets: Mapping[str, Target], *, seconds: float, backwards: bool) -> Round:
    """Every stretch once, those that are compared side by side."""
    found: Round = {}
    order = list(targets.items())[:: -1 if backwards else 1]
    for in_flight in (1, 16, 64):
        for name, target in order:
            if name != "unlogged" or in_flight == 64:
                await unary(target, found, name, in_flight=in_flight, seconds=seconds)
    ours = targets["ours"]
    found["stream"] = await ours.load.stream(ours.one, streams=16, seconds=seconds) / seconds
    batches = await ours.load.unary(ours.batch, in_flight=16, seconds=seconds)
    found["batch"] = 32 * len(batches) / seconds
    return found


def figures_of(rounds: Sequence[Round]) -> dict[str, float]:
    """Medians over the rounds; ratios are taken within each."""

    def median(of: Callable[[Round], float]) -> float:
        return statistics.median(of(each) for each in rounds)

    return {
        "p50_vs_echo": round(median(lambda r: r["ours_p50_1"] / r["echo_p50_1"]), 3),
        "throughput_vs_echo": round(median(lambda r: r["ours_rate_64"] / r["echo_rate_64"]), 3),
        "stream_vs_unary": round(median(lambda r: r["stream"] / r["ours_rate_16"]), 2),
        "log_overhead": round(median(lambda r: 1 - r["ours_rate_64"] / r["unlogged_rate_64"]), 4),
        "cpu_vs_echo": round(median(lambda r: r["ours_cpu_64"] / r["echo_cpu_64"]), 3),
        "batch32_rows_per_s": round(median(lambda r: r["batch"])),
        **{f"p50_us_{n}": round(median(lambda r, n=n: r[f"ours_p50_{n}"]), 1) for n in (1, 16, 64)},  # type: ignore[misc]  # a default, to bind it
        **{f"requests_per_s_{n}": round(median(lambda r, n=n: r[f"ours_rate_{n}"])) for n in (1, 16, 64)},  # type: ignore[misc]  # as above
        "messages_per_s_stream": round(median(lambda r: r["stream"])),
        "echo_p50_us_1": round(median(lambda r: r["echo_p50_1"]), 1),
        "echo_requests_per_s_64": round(median(lambda r: r["echo_rate_64"])),
        "rounds": len(rounds),
    }


async def swaps(target: Target, registry: Registry, *, count: int) -> dict[str, float]:
    """Worst latencies of stretches with a swap, and of as many without, one after the other."""
    worst: defaultdict[str, list[float]] = defaultdict(list)
    for number in range(count):
        artifact = await asyncio.to_thread(boosting, FEATURES, number=number + 1)
        worst["steady"].append(max(await target.load.unary(target.one, in_flight=16, seconds=1.0)) * 1e3)
        version = number + 2
        calls = asyncio.create_task(target.load.unary(target.one, in_flight=16, seconds=1.0))
        await asyncio.to_thread(registry.register, version, artifact)
        epoch = (await asyncio.to_thread(registry.serve, version)).epoch
        took = await calls
        while not target.server.said("route", epoch=epoch):
            took += await target.load.unary(target.one, in_flight=16, seconds=0.1)
        worst["swap"].append(max(took) * 1e3)
    steady, swap = (statistics.median(worst[name]) for name in ("steady", "swap"))
    return {
        "swap_worst_ms": round(swap - steady, 2),
        "steady_worst_ms": round(steady, 2),
        "swaps": count,
    }


async def measure(
    registry: Registry, servers: Mapping[str, Server], *, rounds: int, seconds: float, until: float
) -> dict[str, float]:
    """All figures of the servers."""
    chance = np.random.default_rng(1)
    matrix = chance.normal(size=(SHAPES, FEATURES)).astype(np.float32)
    targets = {name: Target(server, matrix) for name, server in servers.items()}
    for target in targets.values():
        await target.load.unary(target.one, in_flight=16, seconds=seconds)
    found: list[Round] = []
    for number in range(rounds):
        if number and time.perf_counter() > until:
            break
        found.append(await one_round(targets, seconds=seconds, backwards=bool(number % 2)))
        say(
            f"round {number + 1}: {found[-1]['ours_rate_64']:,.0f} requests/s at 64 in flight,"
            f" the echo {found[-1]['echo_rate_64']:,.0f}"
        )
    figures = figures_of(found)
    figures |= await swaps(targets["ours"], registry, count=SWAPS if rounds > 1 else 1)
    for target in targets.values():
        await target.load.close()
    return figures


def run(*, rounds: int, seconds: float) -> dict[str, float]:
    """All figures; see the module."""
    began = time.perf_counter()
    two_cores()
    folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    try:
        with ExitStack() as stack:
            kafka = stack.enter_context(EmbeddedKafka(folder / "kafka"))
            registry = Registry(kafka.bootstrap, prefix="bench.", pipeline=pipeline_of(FEATURES))
            stack.callback(registry.close)
            registry.register(1, boosting(FEATURES))
            registry.serve(1)
            echo = Server(module="benchmarks.echo", arguments=("{listen}", str(ANSWER)))
            unlogged = Server.inference(registry, slot="1", module="benchmarks.unlogged")
            servers = {"echo": echo, "ours": Server.inference(registry), "unlogged": unlogged}
            for server in servers.values():
                stack.enter_context(server)
            figures = uvloop.run(
                measure(registry, servers, rounds=rounds, seconds=seconds, until=began + BUDGET)
            )
            figures["rss_mb"] = megabytes(servers["ours"].pid)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if rounds > 1 and find_spec("benchmarks.inference_stream"):
        figures |= import_module("benchmarks.inference_stream").figures()
    return figures | {"seconds": round(time.perf_counter() - began, 1)}


def missed(figures: Mapping[str, float]) -> list[str]:
    """One line for each target that is not reached.

    >>> missed({"p50_vs_echo": 1.3, "throughput_vs_echo": 0.9})
    ['p50_vs_echo is 1.3, and should be at most 1.2']
    """
    lines = []
    for name, (side, target) in TARGETS.items():
        value = figures.get(name, target)
        if value > target if side == "at most" else value < target:
            lines.append(f"{name} is {value:,}, and should be {side} {target:,}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inference", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="of each kind (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=0.8, metavar="S", help="of each stretch of a round (%(default)s)"
    )
    args = parser.parse_args()
    figures = run(rounds=args.rounds, seconds=args.seconds)
    for line in missed(figures):
        say(line)
    if args.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:<36} {value:>12,}")


if __name__ == "__main__":
    main()
