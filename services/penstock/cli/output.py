"""Data on stdout, as an aligned table for people or as JSON for programs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def colours(stream: TextIO) -> bool:
    """Whether to colour what goes to this stream: a terminal, and no NO_COLOR."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(what: str) -> None:
    """A line of progress, on stderr."""
    print(f"penstock: {what}", file=sys.stderr, flush=True)


def as_json(value: object, *, indent: bool = False) -> str:
    """JSON in one line; NaN becomes null, bytes become hexadecimal.

    >>> as_json({"x": float("nan"), "digest": bytes([1, 255])})
    '{"x":null,"digest":"01ff"}'
    """
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS | (orjson.OPT_INDENT_2 if indent else 0)
    return orjson.dumps(value, default=_fallback, option=options).decode()


def _fallback(value: object) -> str:
    return value.hex() if isinstance(value, bytes | bytearray | memoryview) else str(value)


def counted(count: int, thing: str) -> str:
    """How many of something.

    >>> counted(1, "record"), counted(1200, "record")
    ('1 record', '1,200 records')
    """
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def emit(rows: Sequence[Mapping[str, Any]], form: str, *, empty: str = "nothing") -> None:
    """Print rows: a table of their keys, or one JSON array."""
    if form == "json":
        print(as_json(rows, indent=True))
    elif rows:
        print(table(rows, bold=colours(sys.stdout)))
    else:
        print(empty, file=sys.stderr)


def emit_object(value: Mapping[str, Any], form: str) -> None:
    """Print one object: a line for each key, or one JSON object."""
    if form == "json":
        print(as_json(value, indent=True))
        return
    width = max((len(key) for key in value), default=0)
    for key, item in value.items():
        print(f"{key:<{width}}  {_cell(item)}")


def table(rows: Sequence[Mapping[str, Any]], *, bold: bool = False) -> str:
    """Rows of equal keys as aligned columns, numbers to the right.

    >>> print(table([{"topic": "decisions", "lag": 7}, {"topic": "models", "lag": 12}]))
    topic      lag
    decisions    7
    models      12
    """
    heads = list(rows[0])
    cells = [[_cell(row[head]) for head in heads] for row in rows]
    widths = [max(len(head), *(len(line[i]) for line in cells)) for i, head in enumerate(heads)]
    right = [all(isinstance(row[head], int | float) or row[head] is None for row in rows) for head in heads]

    def line(values: Sequence[str]) -> str:
        padded = (
            value.rjust(width) if to_right else value.ljust(width)
            for value, width, to_right in zip(values, widths, right, strict=True)
        )
        return "  ".join(padded).rstrip()

    head = f"\x1b[1m{line(heads)}\x1b[0m" if bold else line(heads)
    return "\n".join([head, *map(line, cells)])


def _cell(value: object) -> str:
    match value:
        case None:
            return "–"
        case float():
            return f"{value:.4g}"
        case dict() | list() | tuple():
            return as_json(value)
        case bytes():
            return value.hex()
        case _:
            return str(value)
