"""Avro schemas that name types of other schemas, made whole: the types are put where they are first named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_NAMED: Final = frozenset({"record", "error", "enum", "fixed"})


def made_whole(schema: Any, referred: Mapping[str, Any]) -> Any:
    """A schema with the types that it, or they, refer to.

    Args:
        schema: as its own text has it.
        referred: the schemas that it refers to, by the full name of the type.

    >>> order = {"type": "record", "name": "shop.Order", "fields": [{"name": "to", "type": "geo.Place"}]}
    >>> place = {"type": "record", "name": "Place", "namespace": "geo", "fields": []}
    >>> made_whole(order, {"geo.Place": place})["fields"][0]["type"]["name"]
    'Place'
    """
    return _put_in(schema, dict(referred), "")


def _put_in(schema: Any, referred: dict[str, Any], space: str) -> Any:
    match schema:
        case str():
            full = schema if "." in schema or not space else f"{space}.{schema}"
            name = full if full in referred else schema
            if name not in referred:
                return schema
            found = referred.pop(name)  # from here on its name is enough
            if isinstance(found, dict) and "." not in str(found.get("name", "")):
                found = {"namespace": "", **found}  # its own, not that of where it is put
            return _put_in(found, referred, "")
        case list():
            return [_put_in(each, referred, space) for each in schema]
        case dict():
            return _in_mapping(schema, referred, space)
        case _:
            return schema


def _in_mapping(schema: dict[str, Any], referred: dict[str, Any], space: str) -> dict[str, Any]:
    if schema.get("type") in _NAMED:
        name = str(schema.get("name", ""))
        space = name.rpartition(".")[0] if "." in name else str(schema.get("namespace", space))
        fields = schema.get("fields")
        if not isinstance(fields, list):
            return schema
        inner = [
            {**each, "type": _put_in(each["type"], referred, space)}
            if isinstance(each, dict) and "type" in each
            else each
            for each in fields
        ]
        return {**schema, "fields": inner}
    whole = dict(schema)
    for key in ("type", "items", "values"):
        if key in schema:
            whole[key] = _put_in(schema[key], referred, space)
    return whole
