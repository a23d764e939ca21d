"""Show the processes of `penstock up`, what each replica of inference serves, and how far the services are
behind; exit code 1 where something is wrong.

Lag is in offsets, from the first record a group has not read: 0 where it has read all there is. Between
records, a transaction's marker takes an offset, too.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from penstock.cli.address import add_broker, reach
from penstock.cli.applied import applied, known_codec, whole
from penstock.cli.cluster import connected, settings_of
from penstock.cli.exits import Exit, Failure
from penstock.cli.groups import groups
from penstock.cli.lag import behind, unread
from penstock.cli.output import as_json, emit
from penstock.cli.state import DATA_FOLDER, State, read_state
from penstock.kernel.errors import Invalid
from penstock.runtime.catalog import Names
from penstock.runtime.codec import UnknownSchema
from penstock.runtime.errors import Unavailable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from penstock.contracts.records import ReplicaReported
    from penstock.runtime.broker import Broker

    Row = Mapping[str, object]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, default=Path(DATA_FOLDER), metavar="DIR", help="the folder of `up` (%(default)s)"
    )
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    state = read_state(args.data)
    settings = settings_of(args, folder=args.data)
    rows = [] if state is None else processes(state)
    healthy = all(row["state"] == "running" for row in rows)
    lags: Sequence[Row] = []
    served: Sequence[Row] = []
    problem = ""
    try:
        reach(settings.broker)
        with connected(settings) as broker:
            lags = lag(broker, Names(settings.prefix))
            served = replicas(broker, Names(settings.prefix))
    except (Failure, Unavailable) as error:
        problem, healthy = str(error), False
    if state is None and problem:
        raise Failure(f"nothing is running here: {problem}")
    if args.output == "json":
        found = {"healthy": healthy, "broker": settings.broker, "processes": rows, "replicas": served}
        print(as_json({**found, "lag": lags}, indent=True))
    else:
        emit(rows, "table", empty="no processes of `penstock up` in this folder")
        print()
        if not problem:
            if served:
                emit([_short(row) for row in served], "table")
                print()
            emit(lags, "table", empty="no topics yet")
    if problem:
        print(problem, file=sys.stderr)
    return Exit.OK if healthy else Exit.FAILED


def processes(state: State) -> list[Row]:
    """A line for each process of an `up`, its own first."""
    alive = state.supervisor.alive()
    own: Row = {
        "process": "up",
        "pid": state.supervisor.pid,
        "state": "running" if alive else "gone",
        "restarts": 0,
    }
    return [
        own,
        *(
            {
                "process": name,
                "pid": it.process.pid if it.process else None,
                "state": "running" if it.process and it.process.alive() else "down",
                "restarts": it.restarts,
            }
            for name, it in sorted(state.processes.items())
        ),
    ]


def replicas(broker: Broker, names: Names) -> list[Row]:
    """A line for each replica of inference and pipeline: its route, what it has loaded, and why not more.

    Raises:
        Unavailable: the broker went away.
    """
    codec = known_codec(broker, names)
    reports: dict[bytes | None, ReplicaReported] = {}
    for record in whole(broker, names.of("replicas")):
        reports.pop(record.key, None)  # a tombstone's writer has ended
        if record.value is not None:
            with suppress(Invalid, UnknownSchema):  # of another build
                reports[record.key] = codec.decode(record.value).value
    return [
        {
            "pipeline": each.pipeline,
            "replica": each.slot,
            "epoch": each.epoch or None,
            "loaded": list(each.loaded),
            "refused": {refusal.version: refusal.reason for refusal in each.refused},
        }
        for each in sorted(reports.values(), key=lambda each: (each.pipeline, each.slot))
    ]


def _short(row: Row) -> Row:
    """For people."""
    refused = [f"{version}: {why}" for version, why in cast("dict[int, str]", row["refused"]).items()]
    loaded = cast("list[int]", row["loaded"])
    return {**row, "loaded": ", ".join(map(str, loaded)) or "nothing", "refused": "; ".join(refused) or None}


def lag(broker: Broker, names: Names) -> list[Row]:
    """A line for each group and topic.

    Raises:
        Unavailable: the broker went away.
    """
    if names.of("pipelines") not in broker.topics():
        return []
    rows: list[Row] = []
    for group in groups(names, applied(broker, names)):
        left = behind(broker, unread(broker, group.name, group.topics))
        for topic in group.topics:
            lags = [lag for where, lag in left.items() if where.topic == topic]
            rows.append(
                {
                    "service": group.service,
                    "group": group.name,
                    "topic": topic,
                    "partitions": len(lags),
                    "lag": sum(lags),
                }
            )
    return rows
