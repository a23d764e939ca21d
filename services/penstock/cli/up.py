"""Start a Kafka and all services on this machine, and keep them running until Ctrl-C or `penstock down`.

What dies is started again. Everything is in the data folder and survives a crash of the machine.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.cli.exits import Exit
from penstock.cli.interrupts import Terminated, forever, terminable
from penstock.cli.logview import PrefixView
from penstock.cli.numbers import port
from penstock.cli.output import as_json, say
from penstock.cli.stack import Plan, Stack
from penstock.cli.state import DATA_FOLDER

if TYPE_CHECKING:
    import argparse

KAFKA_PORT = 9092
GRPC_PORT = 8001


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--broker", metavar="HOST:PORT", help="use this Kafka (or PENSTOCK_BROKER) instead of starting one"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(DATA_FOLDER),
        metavar="DIR",
        help="where everything is (%(default)s)",
    )
    parser.add_argument("--port", type=port, default=KAFKA_PORT, help="of the Kafka to start (%(default)s)")
    parser.add_argument("--grpc-port", type=port, default=GRPC_PORT, help="of inference (%(default)s)")


def run(args: argparse.Namespace) -> int:
    folder: Path = args.data.absolute()
    plan = Plan(
        folder=folder,
        broker=args.broker or os.environ.get("PENSTOCK_BROKER") or None,
        kafka_port=args.port,
        grpc_port=args.grpc_port,
    )
    try:
        with terminable(), Stack(plan, log=PrefixView(sys.stderr), say=say) as stack:
            print(as_json(facts(stack), indent=True) if args.output == "json" else banner(stack), flush=True)
            forever()
    except Terminated:  # `penstock down`, or whoever runs us: the way it is meant to end
        return Exit.OK
    return Exit.FAILED


def facts(stack: Stack) -> dict[str, object]:
    """Where everything is."""
    return {
        "kafka": stack.bootstrap,
        "grpc": stack.plan.grpc,
        "data": str(stack.plan.folder),
        "services": sorted(stack.supervisor.states()),
    }


def banner(stack: Stack) -> str:
    """At most twelve lines: addresses, persistence, the next command, how to stop."""
    plan = stack.plan
    kept = (
        f"in the Kafka at {plan.broker}" if plan.broker else f"{plan.folder} (survives restarts and kill -9)"
    )
    return "\n".join(
        (
            "",
            "Penstock is up.",
            f"  Kafka        {stack.bootstrap}",
            f"  Inference    grpc://{plan.grpc} (Open Inference Protocol v2)",
            f"  Persistence: {kept}",
            "",
            "  Next:  penstock apply FILE.yaml     (the example: examples/flights/flights.yaml)",
            "  Look:  penstock status              penstock tail TOPIC",
            "  Stop:  Ctrl-C                       penstock down",
            "",
        )
    )
