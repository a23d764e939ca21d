"""Who types: what a command or a mark is signed with."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from penstock.cli.exits import Exit, Failure

if TYPE_CHECKING:
    import argparse


def add_operator(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--operator", metavar="NAME", help="who asks; else the user of this shell")


def operator(given: str | None) -> str:
    """The name given, else the user of this shell.

    Raises:
        Failure: with exit code 2 where nobody knows.

    >>> operator("ada")
    'ada'
    """
    if given:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        raise Failure("nobody knows who asks: give --operator NAME", Exit.USAGE) from None
