"""A feature as a pipeline file writes it: what it is, or what is wrong with how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, get_args

from penstock.kernel.kinds import Boolean, Category, Kind, Number, Part, TimePart
from penstock.kernel.mistakes import Mistake, Path, Wrong, nearest, peek, read, show
from penstock.kernel.otherwise import settled
from penstock.kernel.validity import DEFAULTS, in_force

_PLAIN: Final[dict[str, type[Number | Category | Boolean]]] = {
    "number": Number,
    "category": Category,
    "boolean": Boolean,
}
_BESIDE: Final = ("from", "pattern", "required", "otherwise")
"""What may stand beside the short form of a category."""
_INSIDE: Final = ("from", "required", "min", "max", "values", "pattern", "otherwise")
_PARTS: Final[tuple[str, ...]] = get_args(Part)
_TYPES: Final = (*_PLAIN, *_PARTS)
_OTHER_WORDS: Final = {
    **dict.fromkeys(("float", "double", "real", "int", "integer", "long", "decimal", "numeric"), "number"),
    **dict.fromkeys(("string", "str", "text", "enum", "categorical"), "category"),
    **dict.fromkeys(("bool", "flag"), "boolean"),
}


def read_kind(raw: object, path: Path, event_time: object, mistakes: list[Mistake]) -> Kind | None:
    """Read the right-hand side of a feature; what is wrong is added to `mistakes`.

    >>> read_kind({"category": ["free", "pro"]}, (), "t", []) == Category(values=("free", "pro"))
    True
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
    options, at = raw[name], (*path, name)
    short = name == "category" and not isinstance(options, Mapping)
    extra = [key for key in raw if key != name and not (short and key in _BESIDE)]
    for key in extra:
        hint = f": write {{{name}: {{{key}: …}}}}" if key in _INSIDE else ""
        mistakes.append(Mistake((*path, key), f"unknown key {show(key)} beside {name}{hint}", at_key=True))
    if short:
        found = _read_short(raw, path, extra, mistakes)
        return None if extra else found and _settled(found, path, mistakes)
    if name == "category" and peek(options, "values") is None:
        mistakes.append(Mistake(at, "'values' is missing", at_key=True))
        extra.append("values")
    kind = read(_PLAIN[name], options, at, mistakes)
    if isinstance(kind, Number) and kind.min is not None and kind.max is not None and kind.min > kind.max:
        mistakes.append(
            Mistake(at, f"min {kind.min:g} is above max {kind.max:g}: every value would break the rule")
        )
        return None
    return None if extra else kind and _settled(kind, at, mistakes)


def _read_short(
    raw: Mapping[str, object], path: Path, extra: list[str], mistakes: list[Mistake]
) -> Category | None:
    """`{category: [a, b]}`, with its options beside the list."""
    found: list[Mistake] = []
    options = {key: value for key, value in raw.items() if key not in ("category", *extra)}
    kind = read(Category, {"values": raw["category"], **options}, path, found)
    end = len(path)
    # There is no key `values` to point at.
    mistakes += [
        replace(each, path=(*path, "category", *each.path[end + 1 :]))
        if each.path[end : end + 1] == ("values",)
        else each
        for each in found
    ]
    return kind


def _settled(kind: Kind, path: Path, mistakes: list[Mistake]) -> Kind | None:
    """The kind with its `otherwise` in the one form that its meaning has."""
    name = "part of a time" if isinstance(kind, TimePart) else type(kind).__name__.lower()
    try:
        said = settled(kind.otherwise, rules=in_force(kind), defaults=DEFAULTS[type(kind)], kind=name)
    except Wrong as wrong:
        mistakes.append(Mistake((*path, "otherwise", *wrong.within), str(wrong), wrong.suggestion))
        return None
    return replace(kind, otherwise=said)


def _read_part(
    name: str, raw: Mapping[str, object], path: Path, event_time: object, mistakes: list[Mistake]
) -> Kind | None:
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
    return kind and _settled(kind, path, mistakes)
