"""Values a pipeline file writes as a few characters: durations, rates, comparisons, units of evidence."""

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, Strict

from penstock.kernel.mistakes import Wrong, show

_UNITS: Final = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION: Final = re.compile(r"([+-]?)(\d{1,13})\s?(ms|s|m|min|h|d|w)")
_LONGEST: Final = 100 * 365 * _UNITS["d"]


def signed_duration(raw: object) -> int:
    """Milliseconds of a duration that may point backwards.

    >>> signed_duration("-2h")
    -7200000
    """
    found = _DURATION.fullmatch(raw.strip()) if isinstance(raw, str) else None
    if found is None:
        raise Wrong(f"expected a duration such as 36h, got {show(raw)}")
    sign, count, unit = found.groups()
    ms = int(count) * _UNITS["m" if unit == "min" else unit]
    if ms > _LONGEST:
        raise Wrong(f"{show(raw)} is longer than a hundred years")
    return -ms if sign == "-" else ms


def duration_or_none(raw: object) -> int:
    """Milliseconds of a duration, 0 allowed.

    >>> duration_or_none("0h"), duration_or_none("90s"), duration_or_none("14d")
    (0, 90000, 1209600000)
    """
    if (ms := signed_duration(raw)) < 0:
        raise Wrong(f"expected a duration that does not point backwards, got {show(raw)}")
    return ms


def duration(raw: object) -> int:
    """Milliseconds of a duration longer than nothing.

    >>> duration("36h")
    129600000
    """
    if (ms := signed_duration(raw)) <= 0:
        raise Wrong(f"expected a duration longer than 0, got {show(raw)}")
    return ms


def show_duration(ms: int) -> str:
    """A duration in the largest unit, weeks apart, that leaves no rest; the reader gives the same back.

    >>> show_duration(129_600_000), show_duration(1_209_600_000), show_duration(0), show_duration(-1500)
    ('36h', '14d', '0h', '-1500ms')
    """
    if not ms:
        return "0h"
    unit = next(unit for unit in ("d", "h", "m", "s", "ms") if ms % _UNITS[unit] == 0)
    return f"{ms // _UNITS[unit]}{unit}"


_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}
_COMPARISON: Final = re.compile(r"(>=|<=|==|!=|>|<)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How a number becomes a yes or no.

    >>> late = Comparison.read(">= 15")
    >>> late.applies(15), late.applies(14.9), str(late)
    (True, False, '>= 15')
    """

    operator: str
    bound: float

    @classmethod
    def read(cls, raw: object) -> "Comparison":
        found = _COMPARISON.fullmatch(raw.strip()) if isinstance(raw, str) else None
        if found is None or math.isinf(float(found[2])):
            raise Wrong(f"expected a comparison such as '>= 15', got {show(raw)}")
        return cls(operator=found[1], bound=float(found[2]))

    def applies(self, number: float) -> bool:
        return _OPERATORS[self.operator](number, self.bound)

    def __str__(self) -> str:
        whole = self.bound.is_integer() and abs(self.bound) < 1e15  # noqa: PLR2004 - beyond it, digits are made up
        return f"{self.operator} {int(self.bound) if whole else repr(self.bound)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """At most so many in any window of so many milliseconds.

    >>> str(Rate.read("8 per 28d"))
    '8 per 28d'
    """

    count: int
    per: int

    @classmethod
    def read(cls, raw: object) -> "Rate":
        found = re.fullmatch(r"(\d{1,6}) per (\S+)", raw.strip()) if isinstance(raw, str) else None
        if found is None or not int(found[1]):
            raise Wrong(f"expected a rate such as '8 per 28d', got {show(raw)}")
        return cls(count=int(found[1]), per=duration(found[2]))

    def __str__(self) -> str:
        return f"{self.count} per {show_duration(self.per)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceUnit:
    """What counts as one observation: a time block, a row block, or whichever the data need (auto).

    Args:
        of: what `size` counts.
        size: milliseconds of event time, or rows; 0 where `auto`.

    >>> [str(EvidenceUnit.read(each)) for each in ("auto", "6h", "50rows")]
    ['auto', '6h', '50rows']
    """

    of: Literal["auto", "time", "rows"] = "auto"
    size: int = 0

    @classmethod
    def read(cls, raw: object) -> "EvidenceUnit":
        if raw == "auto":
            return cls()
        if isinstance(raw, str) and (rows := re.fullmatch(r"(\d{1,9}) ?rows", raw.strip())) and int(rows[1]):
            return cls(of="rows", size=int(rows[1]))
        try:
            return cls(of="time", size=duration(raw))
        except Wrong:
            message = f"expected a duration such as 6h, so many rows such as 50rows, or auto, got {show(raw)}"
            raise Wrong(message) from None

    def __str__(self) -> str:
        return {"auto": "auto", "time": show_duration(self.size), "rows": f"{self.size}rows"}[self.of]


def _instance(kind: type, read: Callable[[object], object]) -> BeforeValidator:
    """Let a value pass that is already read: defaults, and what a test builds."""
    return BeforeValidator(lambda raw: raw if isinstance(raw, kind) else read(raw))


# How pydantic reads and writes them in a field. Strict: a quoted number is text, and true is not 1.
Text = Annotated[str, Strict()]
Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Real = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Duration = Annotated[int, BeforeValidator(duration), PlainSerializer(show_duration)]
DurationOrNone = Annotated[int, BeforeValidator(duration_or_none), PlainSerializer(show_duration)]
SignedDuration = Annotated[int, BeforeValidator(signed_duration), PlainSerializer(show_duration)]
AComparison = Annotated[Comparison, _instance(Comparison, Comparison.read), PlainSerializer(str)]
ARate = Annotated[Rate, _instance(Rate, Rate.read), PlainSerializer(str)]
AUnit = Annotated[EvidenceUnit, _instance(EvidenceUnit, EvidenceUnit.read), PlainSerializer(str)]
