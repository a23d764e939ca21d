"""Ask the model over gRPC: one row from NAME=VALUE pairs, or every record of a file.

    penstock predict flights carrier=UA origin=EWR distance=1400
    penstock predict flights --file departures.jsonl -o json
    penstock predict flights carrier=UA distance=1400 --explain

A value is what the model says of its feature: a number, true or false, or a category's word (pclass=3 is the
word 3). What is left out, or empty, is missing. A file may be the events' own: the pipeline's id and time
fields are taken as id and event time, and fields that it does not name are ignored. The answer names the id
under which the label is to be sent. With --explain it says what each feature added to the score, too.
"""

from __future__ import annotations

import time
import uuid
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from penstock.cli import cells, reach, why_scores
from penstock.cli.exits import Exit, Failure
from penstock.cli.output import emit
from penstock.cli.recordfile import read
from penstock.ingest.domain.intake import read_id
from penstock.kernel.errors import Invalid
from penstock.kernel.mistakes import show
from penstock.kernel.numbers import as_number
from penstock.kernel.times import event_time_ms

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from penstock.cli.cells import Reader
    from penstock.client import Client, Inputs, Prediction, Row

ROWS: Final = 64
"""Rows of a file in one call."""
ENDINGS: Final = {
    "INVALID_ARGUMENT": Exit.INVALID,
    "NOT_FOUND": Exit.NOT_FOUND,
    "UNAVAILABLE": Exit.UNREACHABLE,
    "DEADLINE_EXCEEDED": Exit.TIMEOUT,
    "UNAUTHENTICATED": Exit.REFUSED,
    "PERMISSION_DENIED": Exit.REFUSED,
}
_READERS: Final[Mapping[str, Reader]] = {"BYTES": cells.text, "BOOL": cells.boolean, "FP32": cells.number}


class Asked(NamedTuple):
    """A row to ask for; no id, or no time, where the event has none."""

    id: str
    time: int | None
    features: Row


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pipeline", metavar="PIPELINE")
    parser.add_argument("features", nargs="*", metavar="NAME=VALUE", help="an empty VALUE is missing")
    parser.add_argument(
        "--file", type=Path, metavar="FILE", help="ask for every record (.avro, .jsonl, .csv)"
    )
    parser.add_argument("--id", default="", help="what the label will be sent under; else one is made up")
    parser.add_argument(
        "--event-time", metavar="TIME", help="ISO-8601, or milliseconds since 1970; now if unset"
    )
    parser.add_argument("--version", type=int, help="ask this version, whatever the route says")
    parser.add_argument(
        "--explain", action="store_true", help="say what each feature added to the score, too"
    )
    reach.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from penstock.client import PenstockError  # noqa: PLC0415 - `apply` shares this module's reading

    if bool(args.features) == bool(args.file):
        raise Failure("give either NAME=VALUE pairs or --file", Exit.USAGE)
    if args.file and (args.id or args.event_time):
        raise Failure("--id and --event-time are of one row: a file has its own", Exit.USAGE)
    pairs = dict(map(pair, args.features))
    address = reach.grpc_address(args.address)
    try:
        with reach.connect(args, address) as client:
            if args.file:
                found = _ask_for_file(client, args.file, args.version, explain=args.explain)
            else:
                row = _of_pairs(client.inputs(), pairs)
                prediction = client.predict(
                    row.features,
                    id=args.id or row.id,
                    event_time=row.time if args.event_time is None else _time(args.event_time),
                    version=args.version,
                    explain=args.explain,
                )
                found = [(row, prediction)]
    except PenstockError as error:
        raise Failure(f"{address}: {error.message}", ENDINGS.get(error.code, Exit.FAILED)) from error
    except (TypeError, ValueError) as error:  # a column of two kinds, a row without any value
        raise Failure(str(error), Exit.INVALID) from error
    emit([shown(prediction, args.output) for _, prediction in found], args.output)
    if args.explain and args.output != "json":
        for row, prediction in found:
            print(f"\n{why_scores.told(row.features, prediction)}")
    return Exit.OK


def pair(text: str) -> tuple[str, str]:
    """A feature on the command line, as it stands there.

    >>> pair("distance=1400"), pair("temp=")
    (('distance', '1400'), ('temp', ''))
    """
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise Failure(f"{text!r} is no feature, expected NAME=VALUE", Exit.USAGE)
    return name, value


def readers(inputs: Inputs) -> dict[str, Reader]:
    """How text is read that the model is to be asked with."""
    return {inputs.id: cells.text, **{name: _READERS[kind] for name, kind in inputs.features.items()}}


def asked(inputs: Inputs, event: Mapping[str, Any]) -> Asked:
    """An event as a row to ask for; fields the pipeline does not name are left out.

    Raises:
        Invalid: a feature is of another type than the stream would take, or the id or the time is none.
    """
    at = event.get(inputs.event_time)
    features = {name: value for name, value in event.items() if name in inputs.timestamps}
    for name, kind in inputs.features.items():
        if event.get(name) is not None:
            features[name] = _checked(name, kind, event[name])
    return Asked(
        "" if event.get(inputs.id) in (None, "") else read_id(event[inputs.id], inputs.id),
        None if at is None else event_time_ms(at, field=inputs.event_time),
        features,
    )


def _checked(name: str, kind: str, value: Any) -> Any:
    """A category's code would be taken too: a number that is meant as a word must not get there."""
    match kind:
        case "BYTES":
            fits, expected = isinstance(value, str), "text"
        case "BOOL":
            fits, expected = isinstance(value, bool), "true or false"
        case _:
            fits, expected = as_number(value) is not None, "a number"
    if not fits:
        raise Invalid(f"feature {name!r} is {show(value)}, expected {expected}", field=name)
    return value


def _of_pairs(inputs: Inputs, pairs: Mapping[str, str]) -> Asked:
    event = cells.typed(pairs, readers(inputs))
    row = asked(inputs, event)
    known = {inputs.id, inputs.event_time, *inputs.features}
    # What a person typed and nobody knows goes to the server, which says what was probably meant.
    return row._replace(
        features={**row.features, **{name: it for name, it in event.items() if name not in known}}
    )


def _ask_for_file(
    client: Client, file: Path, version: int | None, *, explain: bool
) -> list[tuple[Asked, Prediction]]:
    inputs = client.inputs()
    rows = _rows(inputs, file)
    found: list[tuple[Asked, Prediction]] = []
    while batch := list(islice(rows, ROWS)):
        # Where only some have an id or a time, the others get what the server would give them.
        ids = [row.id or uuid.uuid4().hex for row in batch] if any(row.id for row in batch) else None
        now = time.time_ns() // 1_000_000
        timed = any(row.time is not None for row in batch)
        times = [now if row.time is None else row.time for row in batch] if timed else None
        predictions = client.predict(
            [row.features for row in batch], id=ids, event_time=times, version=version, explain=explain
        )
        found += zip(batch, predictions, strict=True)
    return found


def _rows(inputs: Inputs, file: Path) -> Iterator[Asked]:
    for number, event in enumerate(read(file, readers(inputs)), 1):
        try:
            yield asked(inputs, event)
        except Invalid as why:
            raise Invalid(f"{file}: record {number}: {why}", field=why.field) from why


def shown(prediction: Prediction, form: str) -> dict[str, object]:
    """A line of the answer."""
    line: dict[str, object] = {
        "id": prediction.id,
        "scores": [round(score, 6) for score in prediction.scores],
        "version": prediction.version,
        "role": prediction.role,
        "epoch": prediction.epoch,
    }
    if prediction.explanations and form == "json":
        line["explanations"] = [why_scores.plain(each) for each in prediction.explanations]
    return line


def _time(text: str) -> int:
    return event_time_ms(cells.plain(text), field="--event-time")
