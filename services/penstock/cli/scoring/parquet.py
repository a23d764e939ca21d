"""Parquet files, where pyarrow is installed: it is no dependency, a hundred megabytes for a few users."""

from __future__ import annotations

from datetime import UTC, date, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from penstock.cli.exits import Exit, Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_MAGIC: Final = b"PAR1"
_ROWS: Final = 5_000


def is_parquet(path: Path) -> bool:
    """By its first bytes."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def parquet_columns(path: Path) -> Sequence[str]:
    """The names of its columns."""
    names: list[str] = _open(path).schema_arrow.names
    return names


def parquet_records(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Its rows, each with its place.

    Raises:
        Failure: pyarrow is not installed, or cannot read the file.
    """
    number = 0
    for batch in _open(path).iter_batches(batch_size=_ROWS):
        for row in batch.to_pylist():
            number += 1
            yield f"{path}: record {number:,}", {name: _plain(value) for name, value in row.items()}


def _open(path: Path) -> Any:
    try:
        parquet = import_module("pyarrow.parquet")
    except ModuleNotFoundError as missing:
        raise Failure(
            f"{path} is a Parquet file, and pyarrow, which reads it, is not installed: pip install pyarrow",
            Exit.USAGE,
        ) from missing
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are these
        raise Failure(f"{path}: not a Parquet file that can be read: {error}", Exit.INVALID) from error


def _plain(value: Any) -> Any:
    """Times as the milliseconds or the text that events have."""
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return round(aware.timestamp() * 1000)
    return value.isoformat() if isinstance(value, date) else value
