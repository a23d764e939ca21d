"""Values made of the schemas: one of each record, and hypothesis strategies for whatever it may hold."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from penstock.contracts import records
from penstock.contracts.schemas import ROWS, SCHEMAS

EVENTS = tuple(name for name in SCHEMAS if name not in ROWS)

_SIMPLE: dict[str, SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32),
    "double": st.floats(),
    "bytes": st.binary(max_size=20),
    "string": st.text(max_size=10),
}


def of(name: str) -> SearchStrategy[Any]:
    """The contracts' dataclass of that name; for a row its head, without the features."""
    schema = json.loads(SCHEMAS[name])
    if name in ROWS:
        schema["fields"].pop()
    return _strategy(schema, {})


def _strategy(schema: Any, known: dict[str, SearchStrategy[Any]]) -> SearchStrategy[Any]:
    if isinstance(schema, list):
        return st.one_of([_strategy(each, known) for each in schema])
    if isinstance(schema, str):
        return _SIMPLE[schema] if schema in _SIMPLE else known[schema]
    match schema["type"]:
        case "record":
            fields = {field["name"]: _strategy(field["type"], known) for field in schema["fields"]}
            made: SearchStrategy[Any] = st.builds(getattr(records, schema["name"]), **fields)
        case "enum":
            made = st.sampled_from(getattr(records, schema["name"]))
        case "array":
            return st.lists(_strategy(schema["items"], known), max_size=3).map(tuple)
        case "map":
            return st.dictionaries(st.text(max_size=5), _strategy(schema["values"], known), max_size=3)
        case other:
            return _strategy(other, known)
    known[f"{schema['namespace']}.{schema['name']}"] = made
    return made


def sample(name: str) -> Any:
    """One value of that record with something in every field, always the same."""
    schema = json.loads(SCHEMAS[name])
    if name in ROWS:
        schema["fields"].pop()
    return _sample(schema, {})


_SAMPLES: dict[str, Any] = {
    "null": None,
    "boolean": True,
    "int": 1357,
    "long": 1357016400000,
    "float": 0.25,
    "double": 0.1,
    "bytes": b"\x00\xff",
    "string": "UA-1545 ŷ",
}


def _sample(schema: Any, known: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return _sample(schema[-1], known)
    if isinstance(schema, str):
        return _SAMPLES[schema] if schema in _SAMPLES else known[schema]
    match schema["type"]:
        case "record":
            fields = {field["name"]: _sample(field["type"], known) for field in schema["fields"]}
            made = getattr(records, schema["name"])(**fields)
        case "enum":
            made = getattr(records, schema["name"])(schema["symbols"][-1])
        case "array":
            return (_sample(schema["items"], known),) * 2
        case "map":
            return {"a": _sample(schema["values"], known), "ŷ": _sample(schema["values"], known)}
        case other:
            return _sample(other, known)
    known[f"{schema['namespace']}.{schema['name']}"] = made
    return made
