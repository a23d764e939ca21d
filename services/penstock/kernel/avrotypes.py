"""What an Avro schema says of the values in a record: where a dotted path leads, and to what.

Names are looked up once, so a type that stands within itself leads nowhere here (and is refused by whoever
decodes). A reader's schema is resolved to a writer's field by field, as Avro has it: by name or alias, else
the reader's default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_DIGITS: Final = 1000
"""The most digits of a decimal: 10 to the power of its scale is computed."""
_LOGICAL: Final[dict[str, tuple[str, ...]]] = {
    "date": ("int",),
    "decimal": ("bytes", "fixed"),
    "local-timestamp-micros": ("long",),
    "local-timestamp-millis": ("long",),
    "local-timestamp-nanos": ("long",),
    "time-micros": ("long",),
    "time-millis": ("int",),
    "timestamp-micros": ("long",),
    "timestamp-millis": ("long",),
    "timestamp-nanos": ("long",),
    "uuid": ("string", "fixed"),
}
_PRIMITIVE: Final = frozenset(
    {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AvroType:
    """A type of a schema, with the types it is made of.

    Args:
        kind: Avro's word for it; 'union'; '' for a name that is not known.
        logical: what its plain values mean, where the schema says so and the type can mean it.
        scale: digits after the point, of a decimal.
        size: bytes of a fixed.
        symbols: the words of an enum.
        default: the word for one that an enum does not know, or None.
        fields: of a record, by name.
        parts: the branches of a union; the items of an array, or values of a map.
        nodes: how many types it is made of, itself among them, were each written out where it is named.
    """

    kind: str
    logical: str = ""
    scale: int = 0
    size: int = 0
    symbols: tuple[str, ...] = ()
    default: str | None = None
    fields: Mapping[str, AvroField] = field(default_factory=dict)
    parts: tuple[AvroType, ...] = ()
    nodes: int = field(init=False, default=1)

    def __post_init__(self) -> None:
        # Counted as it is put together: a few names that name each other twice would take for ever after.
        inner = sum(each.nodes for each in self.parts) + sum(each.type.nodes for each in self.fields.values())
        object.__setattr__(self, "nodes", 1 + inner)

    @property
    def word(self) -> str:
        """What a person calls it."""
        return self.logical or self.kind


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AvroField:
    """A field of a record.

    Args:
        type: of its values.
        aliases: other names it goes by.
        default: as JSON has it; only where `has_default`, since null is one.
    """

    type: AvroType
    aliases: tuple[str, ...] = ()
    has_default: bool = False
    default: Any = None


def read_type(schema: object) -> AvroType:
    """The type of a whole schema; what is no schema is of no kind.

    >>> read_type({"type": "long", "logicalType": "timestamp-micros"}).word
    'timestamp-micros'
    """
    return _type(schema, {}, "")


def _type(schema: Any, known: dict[str, AvroType], space: str) -> AvroType:  # noqa: PLR0911 - one per form
    match schema:
        case str() if schema in _PRIMITIVE:
            return AvroType(kind=schema)
        case str():
            return known.get(_full(schema, space)) or known.get(schema) or AvroType(kind="")
        case list():
            return AvroType(kind="union", parts=tuple(_type(each, known, space) for each in schema))
        case {"type": "record" | "error" | "enum" | "fixed"}:
            return _named(schema, known, space)
        case {"type": "array", "items": inner} | {"type": "map", "values": inner}:
            return AvroType(kind=schema["type"], parts=(_type(inner, known, space),))
        case {"type": str() as kind} if kind in _PRIMITIVE:
            return AvroType(kind=kind, **_meaning(schema, kind))
        case {"type": inner}:
            return _type(inner, known, space)
    return AvroType(kind="")


def _named(schema: Mapping[str, Any], known: dict[str, AvroType], space: str) -> AvroType:
    full = _full(str(schema.get("name", "")), str(schema.get("namespace", space)))
    match schema["type"]:
        case "enum":
            symbols, default = schema.get("symbols"), schema.get("default")
            made = AvroType(
                kind="enum",
                symbols=tuple(map(str, symbols)) if isinstance(symbols, list) else (),
                default=default if isinstance(default, str) else None,
            )
        case "fixed":
            size = schema.get("size")
            made = AvroType(
                kind="fixed", size=size if isinstance(size, int) else 0, **_meaning(schema, "fixed")
            )
        case _:
            listed = schema.get("fields")
            fields = {
                str(each["name"]): AvroField(
                    type=_type(each.get("type"), known, full.rpartition(".")[0]),
                    aliases=tuple(map(str, aliases))
                    if isinstance(aliases := each.get("aliases"), list)
                    else (),
                    has_default="default" in each,
                    default=each.get("default"),
                )
                for each in (listed if isinstance(listed, list) else [])
                if isinstance(each, Mapping) and "name" in each
            }
            made = AvroType(kind="record", fields=fields)
    known[full] = made
    return made


def _full(name: str, space: str) -> str:
    return name if "." in name or not space else f"{space}.{name}"


def _meaning(schema: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The logical type, where it is a valid one: Avro takes the plain type for any other."""
    logical = schema.get("logicalType")
    if not isinstance(logical, str) or kind not in _LOGICAL.get(logical, ()):
        return {}
    if logical == "uuid" and kind == "fixed" and schema.get("size") != 16:  # noqa: PLR2004 - bytes of a UUID
        return {}
    if logical != "decimal":
        return {"logical": logical}
    scale, precision = schema.get("scale", 0), schema.get("precision")
    valid = isinstance(scale, int) and isinstance(precision, int) and 0 <= scale <= precision <= _DIGITS
    return {"logical": logical, "scale": scale} if valid else {}


def branches(kind: AvroType) -> list[AvroType]:
    """A type's own branches, null apart: those of a union, else itself."""
    if kind.kind == "union":
        return [inner for part in kind.parts for inner in branches(part)]
    return [] if kind.kind == "null" else [kind]


def at(kind: AvroType, path: Sequence[str]) -> list[AvroType]:
    """What may stand at a path, null apart; nothing where the path leads nowhere.

    >>> order = {"type": "record", "name": "O", "fields": [{"name": "id", "type": ["null", "long"]}]}
    >>> event = {"type": "record", "name": "E", "fields": [{"name": "order", "type": order}]}
    >>> [each.word for each in at(read_type(event), ["order", "id"])], at(read_type(event), ["id"])
    (['long'], [])
    """
    found = branches(kind)
    for segment in path:
        found = [inner for each in found for below in _below(each, segment) for inner in branches(below)]
    return found


def _below(kind: AvroType, segment: str) -> list[AvroType]:
    match kind.kind:
        case "record":
            return [kind.fields[segment].type] if segment in kind.fields else []
        case "map":
            return list(kind.parts)
        case "":
            return [kind]
        case _:
            return []


def ambiguous(types: Sequence[AvroType]) -> str:
    """Two types of these whose plain values look the same and mean something else; '' if there are none.

    >>> ambiguous([AvroType(kind="long"), AvroType(kind="long", logical="timestamp-micros")])
    'long or timestamp-micros'
    """
    for looks in (("int", "long"), ("bytes", "fixed")):
        alike = {(each.logical, each.scale): each.word for each in types if each.kind in looks}
        if len(alike) > 1:
            return " or ".join(sorted(alike.values()))
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """Where a reader's path lies in what a writer wrote.

    Args:
        path: in the writer's record; None where the writer has no such field.
        types: what may stand there, null apart; where the writer has nothing, the reader's.
        words: the reader's enum, where it has one there.
        default: where `path` is None: the reader's, as JSON has it.
    """

    path: tuple[str, ...] | None
    types: tuple[AvroType, ...]
    words: AvroType | None = None
    default: Any = None


def trace(writer: AvroType, path: Sequence[str], reader: AvroType | None = None) -> Leaf:
    """Find a path, in the reader's names where there is a reader.

    >>> old = read_type({"type": "record", "name": "E", "fields": [{"name": "wnd", "type": "int"}]})
    >>> new = read_type({"type": "record", "name": "E", "fields": [
    ...     {"name": "wind", "type": "double", "aliases": ["wnd"]},
    ...     {"name": "rain", "type": "double", "default": 0.0},
    ... ]})
    >>> trace(old, ["wind"], new).path, trace(old, ["rain"], new).default
    (('wnd',), 0.0)
    """
    if reader is None:
        return Leaf(path=tuple(path), types=tuple(at(writer, path)))
    wanted, there, found = branches(reader), branches(writer), []
    for index, segment in enumerate(path):
        fields = [each.fields[segment] for each in wanted if segment in each.fields]
        aliases = [alias for each in fields for alias in each.aliases]
        below = [inner for each in wanted for part in _below(each, segment) for inner in branches(part)]
        name, inside = next(
            ((name, inside) for name in (segment, *aliases) if (inside := _inside(there, name))),
            (segment, []),
        )
        if not inside:
            default = next((each.default for each in fields if each.has_default), None)
            rest = path[index + 1 :]
            return Leaf(path=None, types=tuple(_end(below, rest)), default=_dug(default, rest))
        wanted, there = below, [inner for each in inside for inner in branches(each)]
        found.append(name)
    words = next((each for each in wanted if each.kind == "enum"), None)
    return Leaf(path=tuple(found), types=tuple(map(_meant(wanted), there)), words=words)


def _inside(there: Sequence[AvroType], name: str) -> list[AvroType]:
    return [below for each in there for below in _below(each, name)]


def _end(found: Sequence[AvroType], path: Sequence[str]) -> list[AvroType]:
    return [inner for each in found for inner in at(each, path)]


def _meant(wanted: Sequence[AvroType]) -> Any:
    """The writer's type; where it says nothing of what its values mean, the reader's word for it."""

    def of(written: AvroType) -> AvroType:
        same = (each for each in wanted if each.logical and written.kind in _LOGICAL[each.logical])
        return written if written.logical else next(same, written)

    return of


def _dug(value: Any, path: Sequence[str]) -> Any:
    for segment in path:
        value = value.get(segment) if isinstance(value, Mapping) else None
    return value
