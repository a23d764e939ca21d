"""Numbers, spans and versions as they stand in a sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from penstock.cli.times import iso

_LARGEST: Final = 700.0
"""Its exponential is about as large as a double can be."""


def version(number: int, lane: str) -> str:
    """A version with the lane it was made in.

    >>> version(4, "recent"), version(0, "")
    ('version 4 (recent)', 'version 0')
    """
    return f"version {number} ({lane})" if lane else f"version {number}"


def e_value(log: float) -> str:
    """An e-value from its logarithm: against how much luck somebody would have had to bet.

    >>> e_value(3.2), e_value(0.0), e_value(-4.0), e_value(900.0)
    ('24.5', '1', '0.0183', 'e^900')
    """
    return f"{math.exp(log):.3g}" if log < _LARGEST else f"e^{log:.0f}"


def span(start: int | None, end: int | None) -> str:
    """A stretch of event time.

    >>> span(None, 0)
    'the beginning to 1970-01-01T00:00:00Z'
    """
    return f"{'the beginning' if start is None else iso(start)} to {'now' if end is None else iso(end)}"


def offsets(start: int, end: int) -> str:
    """The records [start, end) of a partition.

    >>> offsets(3, 9), offsets(3, 4), offsets(3, 3)
    ('offsets 3 to 8', 'offset 3', 'no record')
    """
    if end <= start:
        return "no record"
    return f"offset {start}" if end == start + 1 else f"offsets {start} to {end - 1}"


def difference(value: float) -> str:
    """A difference of losses: below 0 is better.

    >>> difference(-0.01234)
    '-0.0123'
    """
    return f"{value:+.4f}"


def numbers(compared: Mapping[str, float]) -> str:
    """What a decision compared.

    >>> numbers({"mean": -0.094, "better": 3.2, "blocks": 8.0, "fallen": 0.0, "loss": 0.52})
    'mean difference -0.0940, e-value better 24.5, 8 blocks, loss 0.5200'
    """
    return ", ".join(said for name, value in compared.items() if (said := _number(name, value)))


def _number(name: str, value: float) -> str:
    if name in _FORMS:
        return _FORMS[name](value)
    words = name.replace("_", " ")
    return f"{words} {value:,.0f}" if value.is_integer() else f"{words} {value:.4f}"


_FORMS: Final[Mapping[str, Callable[[float], str]]] = {
    "fallen": lambda _: "",  # the sentence says so
    "forced": lambda _: "",  # the reason says so
    "mean": lambda value: f"mean difference {difference(value)}",
    "ewma": lambda value: f"moving average {difference(value)}",
    "better": lambda value: f"e-value better {e_value(value)}",
    "worse": lambda value: f"e-value worse {e_value(value)}",
    "needed": lambda value: f"needed {e_value(value)}",
    "blocks": lambda value: f"{value:,.0f} blocks",
    "rows": lambda value: f"{value:,.0f} rows",
    "share": lambda value: f"{value:.0%} of the ids",
}
