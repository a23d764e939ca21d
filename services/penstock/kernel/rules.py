"""What one part of a pipeline file demands of another.

The rules look at the raw mapping, so that what they find is told together with everything else that is wrong.
"""

from collections.abc import Mapping
from typing import Final, get_args

from penstock.kernel.kinds import Boolean, Category, Feature, Number, TimePart
from penstock.kernel.mistakes import Mistake, Path, either, nearest, peek, show
from penstock.kernel.names import is_feature_name
from penstock.kernel.policy import OBJECTIVES, Objective
from penstock.kernel.readkind import read_kind


def entries(raw: object, path: Path, mistakes: list[Mistake]) -> list[tuple[object, object, Path]]:
    """Names, values and paths of a mapping, or of a list of mappings with one key each."""
    if isinstance(raw, Mapping):
        found = [(key, value, (*path, key)) for key, value in raw.items()]
    elif isinstance(raw, list) and all(isinstance(each, Mapping) and len(each) == 1 for each in raw):
        found = [
            (key, value, (*path, index, key)) for index, each in enumerate(raw) for key, value in each.items()
        ]
    else:
        mistakes.append(Mistake(path, f"expected names and values, got {show(raw)}"))
        return []
    if not found:
        mistakes.append(Mistake(path, f"expected at least one of the {path[0]}"))
    names = [key for key, _, _ in found]
    for index, (key, _, where) in enumerate(found):
        if key in names[:index]:
            mistakes.append(Mistake(where, f"{key!r} stands here twice", at_key=True))
    return found


def rules(raw: Mapping[str, object]) -> list[Mistake]:
    """Every rule between two parts that the file breaks."""
    found = []
    task = raw.get("task")
    if isinstance(task, str) and task in OBJECTIVES:
        if task == "multiclass" and "classes" not in raw:
            found.append(Mistake((), "'classes' is missing: task multiclass needs the list of its classes"))
        if task != "multiclass" and "classes" in raw:
            found.append(Mistake(("classes",), f"only task multiclass has classes, not {task}", at_key=True))
        if task != "binary" and peek(raw, "labels", "positive") is not None:
            where = ("labels", "positive")
            found.append(Mistake(where, f"only task binary has positives, not {task}", at_key=True))
        objective = peek(raw, "policy", "objective")
        if objective in get_args(Objective) and objective not in (known := OBJECTIVES[task]):
            message = f"{objective!r} does not fit task {task}: expected {' or '.join(known)}"
            found.append(Mistake(("policy", "objective"), message))
    topic = peek(raw, "labels", "topic")
    if topic is not None and topic == peek(raw, "events", "topic"):
        found.append(Mistake(("labels", "topic"), "labels need a topic of their own"))
    if peek(raw, "labels", "available") == "after_action" and peek(raw, "policy", "approval") in (
        None,
        "automatic",
    ):
        message = "labels that only come after an action need policy.approval manual or four_eyes"
        found.append(Mistake(("labels", "available"), message))
    return found + _schema_rules(raw)


def _schema_rules(raw: Mapping[str, object]) -> list[Mistake]:
    """Every field that is read stands in the Avro schema, where that is inline, with a type that fits."""
    wanted: list[tuple[str, Path, object, tuple[str, ...]]] = [
        (section, (section, key), peek(raw, section, key), types)
        for section, keys in (("events", ("id", "time")), ("labels", ("id", "time", "value")))
        for key in keys
        for types in [_TIMES if key == "time" else _IDS if key == "id" else _NUMBERS + _WORDS + _FLAGS]
    ]
    unnoticed: list[Mistake] = []  # told by whoever reads the features
    for key, value, path in entries(raw.get("features"), ("features",), unnoticed):
        kind = read_kind(value, path, peek(raw, "events", "time"), unnoticed)
        if isinstance(kind, TimePart) and kind.at_event_time:
            continue  # told with events.time
        if kind and isinstance(key, str) and is_feature_name(key):
            wanted.append(("events", path, Feature(name=key, kind=kind).field, _FITTING[type(kind)]))
    found = []
    for section, path, field, types in wanted:
        declared = _declared(peek(raw, section, "format", "avro", "schema", "fields"))
        if not declared or not isinstance(field, str):
            continue
        if field not in declared:
            message = f"the Avro schema of the {section} has no field {field!r}"
            found.append(Mistake(path, message, nearest(field, declared)))
        elif not declared[field] & {*types, ""}:
            message = f"field {field!r} is {' or '.join(sorted(declared[field]))} in the Avro schema"
            found.append(Mistake(path, f"{message}, expected {either(types)}"))
    return found


_NUMBERS: Final = ("int", "long", "float", "double")
_WORDS: Final = ("string", "enum")
_FLAGS: Final = ("boolean",)
_TIMES: Final = ("long", "string")
_IDS: Final = ("string", "int", "long")
_FITTING: Final[dict[type, tuple[str, ...]]] = {
    Number: _NUMBERS,
    Category: _WORDS,
    Boolean: _FLAGS,
    TimePart: _TIMES,
}


# Their plain numbers and bytes mean something else than they seem to.
_NOT_PLAIN: Final = ("decimal", "timestamp-micros", "timestamp-nanos", "time-millis", "time-micros", "date")


def _declared(fields: object) -> dict[str, set[str]]:
    """Field → its Avro types, null apart; '' stands for a type that is named elsewhere."""
    listed = fields if isinstance(fields, list) else []
    return {
        name: _types(peek(each, "type")) for each in listed if isinstance(name := peek(each, "name"), str)
    }


def _types(declared: object) -> set[str]:
    match declared:
        case list():
            return set().union(*map(_types, declared)) - {"null"}
        case {"logicalType": str(logical)} if logical in _NOT_PLAIN:
            return {logical}
        case {"type": inner}:
            return _types(inner)
        case str() if declared in _PRIMITIVES:
            return {declared}
        case _:
            return {""}


_PRIMITIVES: Final = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"} | {
    "record", "enum", "array", "map", "fixed",
}  # fmt: skip
