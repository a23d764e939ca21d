"""Where scores go: a file, stdout or a topic."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

import numpy as np

from penstock.cli.exits import Exit, Failure
from penstock.cli.output import as_json
from penstock.runtime.avrofile import write_container
from penstock.runtime.broker import Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from penstock.inference.explaining import Explanation
    from penstock.kernel.pipeline import Pipeline

FORMS: Final = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".avro": "avro"}
SCHEMA: Final[dict[str, Any]] = {
    "type": "record",
    "name": "Scored",
    "namespace": "penstock",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}, "doc": "event time"},
        {"name": "version", "type": "int", "doc": "that scored it"},
        {"name": "scores", "type": {"type": "array", "items": "float"}},
        {
            "name": "attributions",
            "type": {"type": "array", "items": "float"},
            "default": [],
            "doc": "for each score what every feature added, in the pipeline's order, then the base value",
        },
    ],
}


class Scores(NamedTuple):
    """Rows that were scored.

    Args:
        ids: of the events.
        times: of the events, milliseconds since 1970, shape (rows,).
        version: that scored them.
        scores: shape (rows, K).
        why: attributions; None where none were asked for.
    """

    ids: Sequence[str]
    times: NDArray[np.int64]
    version: int
    scores: NDArray[np.float32]
    why: Explanation | None


def form_of(path: Path) -> str:
    """csv, jsonl or avro, by a file's ending.

    Raises:
        Failure: it is none of these.
    """
    form = FORMS.get(path.suffix.lower())
    if form is None:
        raise Failure(f"{path}: cannot write '{path.suffix}', expected .csv, .jsonl or .avro", Exit.USAGE)
    return form


def write(file: BinaryIO, form: str, pipeline: Pipeline, parts: Iterable[Scores], *, explain: bool) -> None:
    """Write all parts in one form."""
    match form:
        case "avro":
            write_container(file, SCHEMA, (record for part in parts for record in _records(part)))
        case "csv":
            _write_csv(file, pipeline, parts, explain=explain)
        case _:
            for part in parts:
                file.writelines(line + b"\n" for line in lines(pipeline, part))
    file.flush()


def lines(pipeline: Pipeline, part: Scores) -> Iterator[bytes]:
    """Each row as JSON."""
    names = pipeline.feature_names
    for row, (id_, time) in enumerate(zip(part.ids, part.times.tolist(), strict=True)):
        line: dict[str, Any] = {
            "id": id_,
            "time": time,
            "version": part.version,
            "scores": part.scores[row],  # float32, which is written with as many digits as it has
        }
        if part.why is not None:
            line["explanations"] = [
                {
                    "scale": part.why.scale,
                    "base": values[-1],
                    "attributions": dict(zip(names, values[:-1], strict=True)),
                }
                for values in part.why.values[row]
            ]
        yield as_json(line).encode()


def messages(pipeline: Pipeline, topic: str, parts: Iterable[Scores]) -> Iterator[Message]:
    """Each row as a record of JSON, its id the key."""
    headers = (("content-type", b"application/json"),)
    for part in parts:
        for id_, line in zip(part.ids, lines(pipeline, part), strict=True):
            yield Message(topic, line, id_.encode(), headers)


def _records(part: Scores) -> Iterator[dict[str, Any]]:
    whys = None if part.why is None else part.why.values.reshape(len(part.ids), -1).tolist()
    scores = part.scores.tolist()
    for row, (id_, time) in enumerate(zip(part.ids, part.times.tolist(), strict=True)):
        yield {
            "id": id_,
            "time": time,
            "version": part.version,
            "scores": scores[row],
            "attributions": [] if whys is None else whys[row],
        }


def _write_csv(file: BinaryIO, pipeline: Pipeline, parts: Iterable[Scores], *, explain: bool) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    heads = [f"score_{name}" for name in pipeline.classes] or ["score"]
    whys = (
        [f"{head}_{name}" for head in heads for name in (*pipeline.feature_names, "base")] if explain else []
    )
    writer.writerow(["id", "time", "version", *heads, *whys])
    for part in parts:
        numbers = part.scores
        if part.why is not None:
            numbers = np.concatenate([numbers, part.why.values.reshape(len(part.ids), -1)], axis=1)
        shown = numbers.astype(np.str_).tolist()
        rows = zip(part.ids, part.times.tolist(), shown, strict=True)
        writer.writerows([id_, time, part.version, *values] for id_, time, values in rows)
    text.detach()
