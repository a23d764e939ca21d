"""Numbers on the command line: what is none that makes sense is wrong usage, before anything is done."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Final

LARGEST_PORT: Final = 65_535


def count(text: str) -> int:
    """A whole number, 1 or more.

    >>> count("3")
    3
    """
    return _within(text, 1, None)


def count_or_none(text: str) -> int:
    """A whole number, 0 or more.

    >>> count_or_none("0")
    0
    """
    return _within(text, 0, None)


def port(text: str) -> int:
    """A port that others can be told.

    >>> port("9092")
    9092
    """
    return _within(text, 1, LARGEST_PORT)


def share(text: str) -> float:
    """A part of a whole: more than nothing, less than all.

    >>> share("0.3")
    0.3
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


def _within(text: str, least: int, most: int | None) -> int:
    expected = f"a whole number, {least} or more" if most is None else f"a number from {least} to {most}"
    if text.isascii() and text.isdigit() and least <= int(text) and (most is None or int(text) <= most):
        return int(text)
    raise ArgumentTypeError(f"{text!r} is not {expected}")
