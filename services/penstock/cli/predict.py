"""Ask the model over gRPC: one row from NAME=VALUE pairs, or every record of a file.

    penstock predict flights carrier=UA origin=EWR distance=1400
    penstock predict flights --file departures.jsonl -o json

What is left out is missing. The answer names the id under which the label is to be sent.
"""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from penstock.cli.exits import Exit, Failure
from penstock.cli.output import emit
from penstock.cli.produce import number_or_text, read
from penstock.cli.state import DATA_FOLDER, read_state

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from penstock.inference.client import Prediction, Value

DEFAULT: Final = "127.0.0.1:8001"
ROWS: Final = 64
"""Rows of a file in one call."""
ENDINGS: Final = {
    "INVALID_ARGUMENT": Exit.INVALID,
    "NOT_FOUND": Exit.NOT_FOUND,
    "UNAVAILABLE": Exit.UNREACHABLE,
    "DEADLINE_EXCEEDED": Exit.TIMEOUT,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pipeline", metavar="PIPELINE")
    parser.add_argument("features", nargs="*", metavar="NAME=VALUE")
    parser.add_argument(
        "--file", type=Path, metavar="FILE", help="ask for every record (.avro, .jsonl, .csv)"
    )
    parser.add_argument("--id", default="", help="what the label will be sent under; else one is made up")
    parser.add_argument(
        "--event-time", metavar="TIME", help="ISO-8601, or milliseconds since 1970; now if unset"
    )
    parser.add_argument("--version", type=int, help="ask this version, whatever the route says")
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help=f"of inference; else PENSTOCK_GRPC, else what `penstock up` runs here, else {DEFAULT}",
    )


def run(args: argparse.Namespace) -> int:
    from penstock.inference.client import Client  # noqa: PLC0415 - `apply` shares this module's reading
    from penstock.inference.faults import Fault  # noqa: PLC0415

    if bool(args.features) == bool(args.file):
        raise Failure("give either NAME=VALUE pairs or --file", Exit.USAGE)
    address = grpc_address(args.address)
    try:
        with Client(address, pipeline=args.pipeline) as client:
            if args.file:
                found = [
                    prediction
                    for rows in _batches(read(args.file))
                    for prediction in client.predict_many(rows, version=args.version)
                ]
            else:
                row = dict(map(pair, args.features))
                found = [
                    client.predict(row, id=args.id, event_time=_time(args.event_time), version=args.version)
                ]
    except Fault as fault:
        raise Failure(f"{address}: {fault}", ENDINGS.get(fault.code, Exit.FAILED)) from fault
    except (TypeError, ValueError) as error:  # a column of two kinds, a row without any value
        raise Failure(str(error), Exit.INVALID) from error
    emit([shown(prediction) for prediction in found], args.output)
    return Exit.OK


def grpc_address(given: str | None, *, environment: Mapping[str, str] = os.environ) -> str:
    """Where inference is: what was given, else PENSTOCK_GRPC, else what `up` wrote here, else 8001."""
    if named := given or environment.get("PENSTOCK_GRPC"):
        return named
    state = read_state(Path(DATA_FOLDER))
    return state.grpc if state else DEFAULT


def pair(text: str) -> tuple[str, Value]:
    """A feature on the command line.

    >>> pair("distance=1400"), pair("carrier=UA"), pair("temp=")
    (('distance', 1400), ('carrier', 'UA'), ('temp', None))
    """
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise Failure(f"{text!r} is no feature, expected NAME=VALUE", Exit.USAGE)
    return name, number_or_text(value)


def shown(prediction: Prediction) -> dict[str, object]:
    """A line of the answer."""
    return {
        "id": prediction.id,
        "scores": [round(score, 6) for score in prediction.scores],
        "version": prediction.version,
        "role": prediction.role,
        "epoch": prediction.epoch,
    }


def _time(text: str | None) -> int | None:
    from penstock.kernel.times import event_time_ms  # noqa: PLC0415 - numpy, and seldom needed

    if text is None:
        return None
    return event_time_ms(int(text) if text.isdigit() else text, field="--event-time")


def _batches(rows: Iterator[Mapping[str, Value]]) -> Iterator[Sequence[Mapping[str, Value]]]:
    while batch := list(islice(rows, ROWS)):
        yield batch
