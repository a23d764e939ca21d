"""What one part of a pipeline file demands of another.

The rules look at the raw mapping, so that what they find is told together with everything else that is wrong.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, get_args

from penstock.kernel.avrotypes import AvroType, ambiguous, at, read_type
from penstock.kernel.formats import ENVELOPE, Format
from penstock.kernel.kinds import Boolean, Category, Feature, Number, TimePart
from penstock.kernel.mistakes import Mistake, Path, Wrong, either, nearest, peek, show
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
    """Every field that is read stands in an Avro schema, where one is inline, with a type that fits."""
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
    declared = {section: _declared(peek(raw, section, "format")) for section in ("events", "labels")}
    return [
        mistake
        for section, path, field, types in wanted
        if isinstance(field, str) and all(field.split(".")) and not _in_envelope(raw, section, field)
        for mistake in _misfits(section, declared[section], path, field, types)
    ]


def _in_envelope(raw: Mapping[str, object], section: str, field: str) -> bool:
    """Whether a field is one of a CloudEvent's own, of which no schema speaks."""
    inside = isinstance(form := peek(raw, section, "format"), Mapping) and "cloudevents" in form
    return inside and field.startswith(f"{ENVELOPE}.")


def _declared(form: object) -> list[AvroType]:
    """The records that say what the fields of a topic are; of CloudEvents they are those of the data."""
    try:
        read = Format.read(form)
    except Wrong:
        return []  # told by whoever reads the format
    return [] if read.files else [read_type(each) for each in read.described]


def _misfits(
    section: str, records: Sequence[AvroType], path: Path, field: str, types: Sequence[str]
) -> Iterator[Mistake]:
    """What one of the records, if several, has to say against a field."""
    names = field.split(".")
    if not records:
        return
    found = {each.word for record in records for each in at(record, names)}
    if not found:
        for depth in range(len(names)):
            known = [name for record in records for each in at(record, names[:depth]) for name in each.fields]
            if not any(at(record, names[: depth + 1]) for record in records):
                break
        message = f"the Avro schema of the {section} has no field {field!r}"
        meant = nearest(names[depth], known)
        yield Mistake(path, message, ".".join([*names[:depth], meant]) if meant else "")
    elif not found & {*types, ""}:
        message = f"field {field!r} is {either(sorted(found))} in the Avro schema"
        yield Mistake(path, f"{message}, expected {either(types)}")
    elif told := next(filter(None, (ambiguous(at(record, names)) for record in records)), ""):
        yield Mistake(path, f"field {field!r} may be {told} in the Avro schema, which cannot be told apart")


_CLOCKS: Final = (
    "timestamp-millis", "timestamp-micros", "timestamp-nanos",
    "local-timestamp-millis", "local-timestamp-micros", "local-timestamp-nanos", "date",
)  # fmt: skip
_NUMBERS: Final = ("int", "long", "float", "double", "decimal")
_WORDS: Final = ("string", "enum", "uuid")
_FLAGS: Final = ("boolean",)
_TIMES: Final = ("long", "string", *_CLOCKS)
_IDS: Final = ("string", "int", "long", "uuid", "decimal", "enum")
_FITTING: Final[dict[type, tuple[str, ...]]] = {
    Number: (*_NUMBERS, *_CLOCKS, "time-millis", "time-micros"),
    Category: _WORDS,
    Boolean: _FLAGS,
    TimePart: _TIMES,
}
