"""How the values of a topic are written: guessed from how they begin, and from their headers."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import orjson

from penstock.runtime.avro import HEADER, MARK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.runtime.broker import Record

Form = Literal["json", "single", "container", "confluent", "empty", "unknown"]
Envelope = Literal["none", "binary", "structured"]

CONTAINER: Final = b"Obj\x01"
SCHEMA_ID: Final = "__value_schema_id"
_ATTRIBUTES: Final = {"specversion", "id", "source", "type"}
"""What every CloudEvent has."""
_STRUCTURED: Final = b"application/cloudevents+json"
_NUMBERED, _NAMED = 5, 17  # bytes before the body: magic, and an id or a GUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """How most values are written.

    Args:
        form: of the values, or of the data within CloudEvents.
        envelope: whether they come as CloudEvents.
        names: fingerprints (single) or ids (confluent) of the schemas they name, the commonest first.
        records: those that are written so.
        others: how many are not.
        begins: the first bytes of those that are not.
    """

    form: Form
    envelope: Envelope
    names: Sequence[str]
    records: Sequence[Record]
    others: int
    begins: Sequence[str]


def guess(records: Sequence[Record]) -> Guess:
    """What most records say.

    >>> from penstock.runtime.broker import Record
    >>> found = guess([Record("crm", 0, at, 0, None, value) for at, value in enumerate([b"{}", b"{}", b"?"])])
    >>> found.form, found.others, found.begins
    ('json', 1, ['3f'])
    """
    each = [(record, *_look(record)) for record in records]
    votes = Counter((form, envelope) for _, form, envelope, _ in each if form not in {"empty", "unknown"})
    if not votes:
        form: Form = "unknown" if any(form == "unknown" for _, form, _, _ in each) else "empty"
        begins = _begins([record for record, *_ in each])
        return Guess(form=form, envelope="none", names=(), records=(), others=len(each), begins=begins)
    winner = votes.most_common(1)[0][0]
    mine = [(record, name) for record, form, envelope, name in each if (form, envelope) == winner]
    strangers = [record for record, form, envelope, _ in each if (form, envelope) != winner]
    return Guess(
        form=winner[0],
        envelope=winner[1],
        names=[name for name, _ in Counter(name for _, name in mine if name).most_common()],
        records=[record for record, _ in mine],
        others=len(strangers),
        begins=_begins(strangers),
    )


def _look(record: Record) -> tuple[Form, Envelope, str]:
    """Of one record: form, envelope, and the schema it names."""
    value = record.value
    if not value:
        return "empty", "none", ""
    headers = {name.lower(): content for name, content in record.headers}
    if headers.get("content-type", b"").lower().startswith(_STRUCTURED):
        return "json", "structured", ""
    envelope: Envelope = "binary" if "ce_specversion" in headers else "none"
    if SCHEMA_ID in headers:
        return "confluent", envelope, _id(headers[SCHEMA_ID])
    form, name = _begun(value)
    if form == "json" and envelope == "none" and orjson.loads(value).keys() >= _ATTRIBUTES:
        envelope = "structured"
    return form, envelope, name


def _begun(value: bytes) -> tuple[Form, str]:
    """The form of a value by how it begins, and the schema it names."""
    match value[0]:
        case 0xC3 if value.startswith(MARK) and len(value) >= HEADER:
            return "single", value[len(MARK) : HEADER].hex()
        case 0x4F if value.startswith(CONTAINER):
            return "container", ""
        case 0 | 1 if len(value) >= (length := _NAMED if value[0] else _NUMBERED):
            return "confluent", _id(value[:length])
    return ("json", "") if _is_object(value) else ("unknown", "")


def _is_object(value: bytes) -> bool:
    try:
        return isinstance(orjson.loads(value), dict)
    except orjson.JSONDecodeError:
        return False


def _id(named: bytes) -> str:
    if len(named) == _NAMED:
        return str(uuid.UUID(bytes=named[1:]))
    return str(int.from_bytes(named[1:], "big"))


def _begins(records: Sequence[Record]) -> list[str]:
    counts = Counter((record.value or b"")[:4].hex() or "nothing" for record in records)
    return [begin for begin, _ in counts.most_common(3)]
