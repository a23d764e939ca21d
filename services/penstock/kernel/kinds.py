"""What a feature can be: a number, a category, a boolean, or a part of a timestamp.

Every feature is one double of the row: NaN = missing. A category is coded by its place in a list that only
ever grows at the end, 0 = not in the list.
"""

import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, get_args

from pydantic import BeforeValidator, ConfigDict, Field

from penstock.kernel.mistakes import Mistake, Path, Wrong, adapter, nearest, read, show
from penstock.kernel.names import FieldName
from penstock.kernel.units import Flag, Real, SignedDuration, Text

_STRICT: Final = ConfigDict(extra="forbid")
FROM_FIRST_ROWS: Final = "from_first_rows"
Part = Literal["minute_of_day", "hour", "weekday", "day_of_month", "month"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number; outside [min, max] it counts as missing, and is counted."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    min: Real | None = None
    max: Real | None = None
    required: Flag = False


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
        required: a row without it is invalid.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    values: Annotated[tuple[Text, ...] | None, BeforeValidator(_categories)] = None
    required: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Boolean:
    """True or false: 1 or 0."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    required: Flag = False


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
        at_event_time: the field is the event's own time, which every row has.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    part: Part
    field: FieldName
    shift: SignedDuration = 0
    timezone: Annotated[str, BeforeValidator(_timezone)] = "UTC"
    required: Flag = False
    at_event_time: Annotated[bool, Field(exclude=True)] = False


Kind = Number | Category | Boolean | TimePart
_PLAIN: Final[dict[str, type[Number | Category | Boolean]]] = {
    "number": Number,
    "category": Category,
    "boolean": Boolean,
}
_PARTS: Final[tuple[str, ...]] = get_args(Part)
_TYPES: Final = (*_PLAIN, *_PARTS)
_OTHER_WORDS: Final = {
    **dict.fromkeys(("float", "double", "real", "int", "integer", "long", "decimal", "numeric"), "number"),
    **dict.fromkeys(("string", "str", "text", "enum", "categorical"), "category"),
    **dict.fromkeys(("bool", "flag"), "boolean"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One column of the feature vector."""

    name: str
    kind: Kind

    @property
    def field(self) -> str:
        """The field of the event that it is read from."""
        return self.kind.field if isinstance(self.kind, TimePart) else self.name

    def raw(self) -> dict[str, object]:
        """The feature as a pipeline file spells it out."""
        options: dict[str, Any] = adapter(type(self.kind)).dump_python(
            self.kind, mode="json", exclude_none=True
        )
        match self.kind:
            case TimePart():
                return {options.pop("part"): options.pop("field"), **options}
            case Category(values=None):
                options["values"] = FROM_FIRST_ROWS
        return {type(self.kind).__name__.lower(): options}


def read_kind(raw: object, path: Path, event_time: object, mistakes: list[Mistake]) -> Kind | None:
    """Read the right-hand side of a feature; what is wrong is added to `mistakes`.

    >>> read_kind({"category": ["free", "pro"]}, (), "t", [])
    Category(values=('free', 'pro'), required=False)
    """
    if isinstance(raw, str):
        if raw == "boolean":
            return Boolean()
        if raw == "number":
            return Number()
        message = f"{raw} needs more: {{{raw}: …}}" if raw in _TYPES else ""
        mistakes.append(Mistake(path, message) if message else _unknown_type(raw, path, at_key=False))
        return None
    if not isinstance(raw, Mapping) or not raw:
        mistakes.append(
            Mistake(path, f"expected a type such as number or {{category: [a, b]}}, got {show(raw)}")
        )
        return None
    types = [key for key in raw if key in _TYPES]
    if "type" in raw:
        mistakes.append(_typed(raw["type"], path))
    elif not types:
        mistakes.append(_unknown_type(next(iter(raw)), path, at_key=True))
    elif len(types) > 1:
        mistakes.append(Mistake((*path, types[1]), f"is already a {types[0]}", at_key=True))
    else:
        return _read_options(types[0], raw, path, event_time, mistakes)
    return None


def _unknown_type(given: object, path: Path, *, at_key: bool) -> Mistake:
    meant = nearest(given, [*_TYPES, *_OTHER_WORDS])
    where = (*path, given) if at_key and isinstance(given, str | int) else path
    return Mistake(where, f"unknown type {show(given)}", _OTHER_WORDS.get(meant, meant), at_key=at_key)


def _typed(given: object, path: Path) -> Mistake:
    """`{type: number}`, which many would write first."""
    if given in _TYPES:
        return Mistake((*path, "type"), f"the type is written as the key: {{{given}: …}}", at_key=True)
    return _unknown_type(given, (*path, "type"), at_key=False)


def _read_options(
    name: str, raw: Mapping[str, object], path: Path, event_time: object, mistakes: list[Mistake]
) -> Kind | None:
    if name in _PARTS:
        return _read_part(name, raw, path, event_time, mistakes)
    extra = [key for key in raw if key != name]
    for key in extra:
        hint = f": write {{{name}: {{{key}: …}}}}" if key in ("required", "min", "max", "values") else ""
        mistakes.append(Mistake((*path, key), f"unknown key {show(key)} beside {name}{hint}", at_key=True))
    options, at = raw[name], (*path, name)
    if name == "category" and not isinstance(options, Mapping):
        before = len(mistakes)
        kind = read(Category, {"values": options}, at, mistakes)
        # The short form has no key `values` to point at.
        mistakes[before:] = [
            Mistake((*at, *each.path[len(at) + 1 :]), each.message, each.suggestion)
            for each in mistakes[before:]
        ]
        return None if extra else kind
    if name == "category" and isinstance(options, Mapping) and "values" not in options:
        mistakes.append(Mistake(at, "'values' is missing", at_key=True))
        extra.append("values")
    found = read(_PLAIN[name], options, at, mistakes)
    if (
        isinstance(found, Number)
        and found.min is not None
        and found.max is not None
        and found.min > found.max
    ):
        mistakes.append(
            Mistake(at, f"min {found.min:g} is above max {found.max:g}: every value would be missing")
        )
        return None
    return None if extra else found


def _read_part(
    name: str, raw: Mapping[str, object], path: Path, event_time: object, mistakes: list[Mistake]
) -> TimePart | None:
    found: list[Mistake] = []
    document = {"part": name, "field": raw[name], **{key: value for key, value in raw.items() if key != name}}
    at_event_time = {"at_event_time": True} if raw[name] == event_time else {}
    for reserved in ("part", "field", "at_event_time"):
        if reserved in raw:
            found.append(Mistake((*path, reserved), f"unknown key {reserved!r}", at_key=True))
            document.pop(reserved)
    kind = None if found else read(TimePart, {**document, **at_event_time}, path, found)
    end = len(path)
    mistakes += [
        Mistake((*path, name, *each.path[end + 1 :]), each.message, each.suggestion, each.at_key)
        if each.path[end : end + 1] == ("field",) and each.path[end] not in raw
        else each
        for each in found
    ]
    return kind


def learned(values: Sequence[str]) -> tuple[str, ...]:
    """Categories as they are frozen: text, each once, at least one."""
    categories = _categories(list(values))
    assert categories is not None  # noqa: S101 - a list is never from_first_rows
    return categories
