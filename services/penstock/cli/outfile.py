"""A file that a verb makes: complete or not there, and in place of another one only if that was asked."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from penstock.cli.exits import Exit, Failure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

FORMS = ("table", "json")


def add_outfile(parser: argparse.ArgumentParser, *, what: str) -> None:
    """`-o`, which names a file here, or a form as everywhere; and `--force`."""
    parser.add_argument(
        "-o",
        "--output",
        default="table",
        metavar="FILE|json",
        help=f"{what}; without it, and with json, the data go to stdout",
    )
    parser.add_argument("--force", action="store_true", help="even if the file is there")


def outfile(args: argparse.Namespace) -> Path | None:
    """The file that is asked for; None for stdout.

    Raises:
        Failure: it is there already (5).
    """
    if args.output in FORMS:
        return None
    path = Path(args.output)
    if path.exists() and not args.force:
        raise Failure(f"{path} is there already: --force overwrites it", Exit.CONFLICT)
    return path


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """The file to write to; it appears under its name once all of it is written."""
    if not path.parent.is_dir():
        raise Failure(f"{path}: there is no folder {path.parent}", Exit.NOT_FOUND)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """What the user takes from the rights of new files; the system only tells who sets it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
