"""What a feature can be: a number, a category, a boolean, or a part of a timestamp.

Every feature is one double of the row: NaN = missing. A category is coded by its place in a list that only
ever grows at the end, 0 = not in the list.
"""

import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from penstock.kernel.mistakes import Wrong, adapter, nearest, show
from penstock.kernel.names import FieldName
from penstock.kernel.otherwise import UNSAID, AnOtherwise
from penstock.kernel.patterns import pattern as read_pattern
from penstock.kernel.units import Flag, Real, SignedDuration, Text

_STRICT: Final = ConfigDict(extra="forbid")
FROM_FIRST_ROWS: Final = "from_first_rows"
Part = Literal["minute_of_day", "hour", "weekday", "day_of_month", "month"]
From = Annotated[FieldName | None, Field(alias="from")]
"""The field that a feature is read from, where that has another name than the feature."""


def _numbers(raw: tuple[float, ...] | None) -> tuple[float, ...] | None:
    if raw is not None and not raw:
        raise Wrong("a list of allowed numbers needs at least one")
    return raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number; outside [min, max], or none of `values`, it counts as missing unless `otherwise` differs."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    source: From = None
    min: Real | None = None
    max: Real | None = None
    values: Annotated[tuple[Real, ...] | None, AfterValidator(_numbers)] = None
    required: Flag = False
    otherwise: AnOtherwise = UNSAID


def _categories(raw: object) -> tuple[str, ...] | None:
    if raw == FROM_FIRST_ROWS:
        return None
    if not isinstance(raw, list | tuple):
        raise Wrong(
            f"expected a list of categories or {FROM_FIRST_ROWS}, got {show(raw)}",
            nearest(raw, [FROM_FIRST_ROWS]),
        )
    if not raw:
        raise Wrong("a category needs at least one value")
    seen = set()
    for index, value in enumerate(raw):
        if not isinstance(value, str):
            raise Wrong(f"expected text, got {show(value)}: put it in quotes", within=(index,))
        if value in seen:
            raise Wrong(f"category {value!r} stands here twice", within=(index,))
        seen.add(value)
    return tuple(raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """One of a few words. Its code is its place in `values` + 1; 0 is a word not among them.

    Args:
        values: the words in order; None until they are learned from the first rows.
        pattern: a regular expression that is found in every word.
        required: a row without it is invalid.
        otherwise: what becomes of what breaks a rule.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    source: From = None
    values: Annotated[tuple[Text, ...] | None, BeforeValidator(_categories)] = None
    pattern: Annotated[str, BeforeValidator(read_pattern)] | None = None
    required: Flag = False
    otherwise: AnOtherwise = UNSAID


@dataclass(frozen=True, slots=True, kw_only=True)
class Boolean:
    """True or false: 1 or 0."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    source: From = None
    required: Flag = False
    otherwise: AnOtherwise = UNSAID


def _timezone(raw: object) -> str:
    if isinstance(raw, str):
        try:
            return zoneinfo.ZoneInfo(raw).key
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            near = {name.lower(): name for name in zoneinfo.available_timezones()}
            message = f"unknown time zone {raw!r}: expected a name such as America/New_York"
            raise Wrong(message, near.get(nearest(raw, near), "")) from None
    raise Wrong(f"expected a time zone such as America/New_York, got {show(raw)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePart:
    """A part of the local time at a timestamp.

    Hour 0-23, minute of the day 0-1439, weekday 0 = Monday, day of the month 1-31, month 1-12.

    Args:
        part: which part.
        field: the field of the event that holds the timestamp.
        shift: milliseconds added to it first.
        timezone: where the clock hangs.
        required: a row without it is invalid.
        otherwise: what becomes of what breaks a rule.
        at_event_time: the field is the event's own time, which every row has.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    part: Part
    field: FieldName
    shift: SignedDuration = 0
    timezone: Annotated[str, BeforeValidator(_timezone)] = "UTC"
    required: Flag = False
    otherwise: AnOtherwise = UNSAID
    at_event_time: Annotated[bool, Field(exclude=True)] = False


Kind = Number | Category | Boolean | TimePart


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One column of the feature vector."""

    name: str
    kind: Kind

    @property
    def field(self) -> str:
        """The field of the event that it is read from."""
        if isinstance(self.kind, TimePart):
            return self.kind.field
        return self.kind.source or self.name

    def raw(self) -> dict[str, object]:
        """The feature as a pipeline file spells it out."""
        options: dict[str, Any] = adapter(type(self.kind)).dump_python(
            self.kind, mode="json", exclude_none=True, by_alias=True
        )
        if not options["otherwise"]:
            del options["otherwise"]
        match self.kind:
            case TimePart():
                return {options.pop("part"): options.pop("field"), **options}
            case Category(values=None):
                options["values"] = FROM_FIRST_ROWS
        return {type(self.kind).__name__.lower(): options}


def learned(values: Sequence[str]) -> tuple[str, ...]:
    """Categories as they are frozen: text, each once, at least one."""
    categories = _categories(list(values))
    assert categories is not None  # noqa: S101 - a list is never from_first_rows
    return categories
