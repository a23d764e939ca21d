"""Records from a file: an Avro container, JSON lines, or CSV with a header line.

What is no record is told by file, line and column; of a container, by the number of the record.
"""

from __future__ import annotations

import csv
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TextIO

import orjson

from penstock.cli.cells import typed
from penstock.cli.exits import Exit, Failure
from penstock.kernel.errors import Invalid
from penstock.runtime.avro import read_container

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from penstock.cli.cells import Readers

    Record = Mapping[str, Any]

_ENDINGS: Final = {
    ".avro": "avro",
    ".csv": "csv",
    ".json": "jsonl",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_MAGIC: Final = {
    b"Obj\x01": "avro",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "packed with gzip: unpack it first",
    b"PK\x03\x04": "a zip archive or a spreadsheet: unpack or export it first",
    b"\x28\xb5\x2f\xfd": "packed with zstd: unpack it first",
}


class Place(NamedTuple):
    """Where a record stands.

    Args:
        path: of the file.
        number: of its line, or in a container of the record, from 1.
    """

    path: Path
    number: int

    def at(self, field: str | None = None) -> str:
        """The place for a message, down to the column of a field where the file has lines."""
        if form_of(self.path) == "avro":
            return f"{self.path}: record {self.number:,}"
        return f"{self.path}:{self.number}:{_column(self, field)}"


def form_of(path: Path) -> str:
    """How the file is written: avro, csv or jsonl, by its first bytes or else by its ending.

    Raises:
        Failure: neither says.
    """
    known = _ENDINGS.get(path.suffix.lower())
    if known is None and not path.exists():
        raise _unknown(path)
    with path.open("rb") as file:
        start = file.read(64)
    for magic, form in _MAGIC.items():
        if start.startswith(magic):
            if form != "avro":
                raise Failure(f"{path} is {form}", Exit.USAGE)
            return form
    if known is not None:
        return known
    if start.lstrip().startswith(b"{"):
        return "jsonl"
    raise _unknown(path)


def _unknown(path: Path) -> Failure:
    return Failure(
        f"{path}: cannot read '{path.suffix}', expected .avro, .jsonl, .ndjson or .csv", Exit.USAGE
    )


def read(path: Path, readers: Readers) -> Iterator[Record]:
    """The records of a file.

    Args:
        path: of the file.
        readers: what the columns of a CSV are.

    Raises:
        Failure: the file is of no known form, or a line is not a record.
    """
    for _, record in placed(path, readers):
        yield record


def placed(path: Path, readers: Readers) -> Iterator[tuple[Place, Record]]:
    """As `read`, with the place of each record."""
    match form_of(path):
        case "avro":
            with path.open("rb") as file:
                try:
                    for number, record in enumerate(read_container(file), 1):
                        yield Place(path, number), record
                except Invalid as why:
                    raise Failure(f"{path}: {why}", Exit.INVALID) from why
        case "jsonl":
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield Place(path, number), _json(line, f"{path}:{number}")
        case _:
            yield from _csv(path, readers)


def columns(path: Path) -> tuple[str, ...] | None:
    """The names in the header of a CSV, or in the schema's place the fields of the first record.

    None of an empty file without a header.
    """
    if form_of(path) == "csv":
        with _text(path) as lines:
            return tuple(next(csv.reader(lines), ())) or None
    first = next(read(path, {}), None)
    return None if first is None else tuple(first)


def _csv(path: Path, readers: Readers) -> Iterator[tuple[Place, Record]]:
    with _text(path) as lines:
        rows = csv.reader(lines, strict=True)
        before = 0
        try:
            header = next(rows, None)
            if header is None:
                raise Failure(f"{path}:1:1: no header line", Exit.INVALID)
            for name in header:
                if header.count(name) > 1:
                    place = Place(path, 1)
                    raise Failure(f"{place.at(name)}: column {name!r} stands here twice", Exit.INVALID)
            before = rows.line_num
            for row in rows:
                place, before = Place(path, before + 1), rows.line_num
                if not row:
                    continue
                if len(row) != len(header):
                    raise _ragged(place, row, header)
                yield place, typed(dict(zip(header, row, strict=True)), readers)
        except csv.Error as error:
            raise Failure(f"{path}:{max(rows.line_num, 1)}:1: not CSV: {error}", Exit.INVALID) from error


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    with path.open(newline="", encoding="utf-8-sig") as lines:
        try:
            yield lines
        except UnicodeDecodeError as error:
            raise Failure(f"{_not_text(path)}: not UTF-8 text", Exit.INVALID) from error


def _not_text(path: Path) -> str:
    """The first line that is no text, and the column: text is decoded ahead of the line that is read."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                return f"{path}:{number}:{len(line[: error.start].decode('utf-8', 'replace')) + 1}"
    return str(path)


def _ragged(place: Place, row: Sequence[str], header: Sequence[str]) -> Failure:
    if len(row) < len(header):
        column = 1 + len(_line(place).rstrip("\r\n"))
        what = f"the cell of {header[len(row)]!r} is missing"
    else:
        column, what = _start(_line(place), len(header)), "more cells than the header has"
    return Failure(f"{place.path}:{place.number}:{column}: {what}", Exit.INVALID)


def _json(line: bytes, where: str) -> Record:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Failure(f"{where}:{error.colno}: not JSON: {error.msg}", Exit.INVALID) from error
    if not isinstance(record, dict):
        raise Failure(f"{where}:1: expected a JSON object", Exit.INVALID)
    return record


def _line(place: Place) -> str:
    """The line of the file once more: only a mistake needs it."""
    with place.path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number == place.number:
                return line.decode("utf-8-sig" if number == 1 else "utf-8", "replace")
    return ""


def _column(place: Place, field: str | None) -> int:
    """Where a field stands in its line, from 1; the line's beginning where it does not."""
    if field is None:
        return 1
    line = _line(place)
    if form_of(place.path) == "jsonl":
        return line.find(orjson.dumps(field).decode()) + 1 or 1
    header = columns(place.path) or ()
    return _start(line, header.index(field)) if field in header else 1


def _start(line: str, cell: int) -> int:
    """Where a cell of a CSV line begins, from 1."""
    quoted, seen = False, 0
    for at, char in enumerate(line, 1):
        if seen == cell:
            return at
        if char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            seen += 1
    return len(line.rstrip("\r\n")) + 1
