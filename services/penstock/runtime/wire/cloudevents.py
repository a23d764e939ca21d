"""CloudEvents 1.0 on Kafka: an envelope around the data, in headers (binary) or in the value (structured).

    binary       headers ce_specversion, ce_id, …; the value is the data
    structured   content-type application/cloudevents+json; the value is one JSON object with the attributes
                 beside `data` (JSON) or `data_base64` (bytes, in the format that the pipeline names)

Attributes are fields with `ce.` before their names: `ce.id`, `ce.time`, `ce.subject`, an extension's `ce.…`.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any, Final

import orjson

from penstock.kernel.errors import Invalid
from penstock.kernel.formats import ENVELOPE
from penstock.runtime.wire.columns import Columns
from penstock.runtime.wire.payloads import value_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from penstock.runtime.broker import Record
    from penstock.runtime.wire.payloads import Reads

_PREFIX: Final = "ce_"
_CONTENT_TYPE: Final = "content-type"
_STRUCTURED: Final = "application/cloudevents"
_SPOKEN: Final = "1."
"""What a version of CloudEvents that is read begins with."""


class CloudEvents:
    """Takes envelopes off.

    Args:
        inner: reads the data.
        data: the fields to take of the data.
        envelope: the attributes to take, as the pipeline names them.
    """

    def __init__(self, inner: Reads, data: Collection[str], envelope: Collection[str]) -> None:
        self._inner = inner
        self._data = tuple(data)
        self._envelope = {path: path.removeprefix(f"{ENVELOPE}.") for path in envelope}

    def read(self, records: Sequence[Record]) -> Columns:
        refused: dict[int, Invalid] = {}
        envelopes: dict[int, Mapping[str, Any]] = {}
        plain: dict[int, Mapping[str, Any]] = {}
        written: dict[int, Record] = {}
        for place, record in enumerate(records):
            try:
                envelope, data = _opened(record)
            except Invalid as why:
                refused[place] = why
                continue
            envelopes[place] = envelope
            if isinstance(data, bytes):
                written[place] = record._replace(value=data)
            else:
                plain[place] = data
        parts = [Columns.gather(self._data, plain, refused)]
        if written:
            parts.append(self._inner.read(list(written.values())).moved(list(written)))
        columns = Columns.merged(self._data, parts)
        values = dict(columns.values)
        for path, name in self._envelope.items():
            values[path] = [envelopes[place].get(name) for place in columns.places]
        return Columns(values=values, places=columns.places, refused=columns.refused)


def _opened(record: Record) -> tuple[Mapping[str, Any], Mapping[str, Any] | bytes]:
    """The attributes, and the data: as they are in a JSON envelope, or bytes of the data's own format.

    Raises:
        Invalid: there is no value, or no envelope.
    """
    value = value_of(record)
    attributes, kind = _headers(record)
    if kind.startswith(_STRUCTURED):
        if not kind.startswith(f"{_STRUCTURED}+json"):
            raise _no_envelope(f"the content type is {kind}, expected {_STRUCTURED}+json")
        return _structured(value)
    if "specversion" in attributes:
        _check(attributes["specversion"])
        return attributes, value
    if value[:1] == b"{":  # some leave the content type out
        return _structured(value)
    raise _no_envelope("no header ce_specversion, and no content type of a CloudEvent")


def _headers(record: Record) -> tuple[dict[str, str], str]:
    """Attributes that are in headers, and the content type without its parameters."""
    attributes: dict[str, str] = {}
    kind = ""
    for name, raw in record.headers:
        key = name.lower()
        if key == _CONTENT_TYPE:
            kind = (raw or b"").decode("utf-8", "replace")
        elif key.startswith(_PREFIX):
            attributes[key.removeprefix(_PREFIX)] = (raw or b"").decode("utf-8", "replace")
    if kind:
        attributes["datacontenttype"] = kind
    return attributes, kind.partition(";")[0].strip().lower()


def _structured(value: bytes) -> tuple[Mapping[str, Any], Mapping[str, Any] | bytes]:
    try:
        event = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"not JSON: {error}", reason="undecodable") from error
    if not isinstance(event, dict) or "specversion" not in event:
        raise _no_envelope("a JSON object without specversion")
    _check(event["specversion"])
    if "data_base64" in event:
        try:
            return event, binascii.a2b_base64(event["data_base64"], strict_mode=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise Invalid(f"data_base64 is no base64: {error}", reason="undecodable") from error
    data = event.get("data")
    if not isinstance(data, dict):
        raise Invalid(f"its data is {_named(data)}, expected a JSON object", reason="undecodable")
    return event, data


def _check(version: object) -> None:
    if not (isinstance(version, str) and version.startswith(_SPOKEN)):
        raise _no_envelope(f"specversion is {str(version)[:20]!r}, expected 1.0")


def _no_envelope(why: str) -> Invalid:
    return Invalid(f"not a CloudEvent that is read: {why}", reason="undecodable")


def _named(data: object) -> str:
    return "missing" if data is None else f"a {type(data).__name__}"
