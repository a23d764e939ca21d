"""What may change in a schema whose records are kept for ever: every version reads what any other wrote."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, permutations
from typing import Any

import avro.schema
import fastavro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

Schema = dict[str, Any]


def breaks(versions: Sequence[Schema]) -> list[str]:
    """Why these versions of one schema cannot live in one log; empty where they can (FULL_TRANSITIVE)."""
    return [*_unreadable(versions), *_other_logical_types(versions), *mistakable(versions)]


def mistakable(schemas: Iterable[Schema]) -> list[str]:
    """Schemas that a record cannot tell apart, though they are not the same.

    The fingerprint is one of the canonical form, which has no logical types, defaults or aliases: of two such
    schemas whichever comes last on the topic would be taken for both.
    """
    groups: defaultdict[str, dict[str, Schema]] = defaultdict(dict)
    for schema in schemas:
        canonical = fastavro.schema.to_parsing_canonical_form(schema)
        full = json.dumps(_undocumented(schema), sort_keys=True)
        groups[fastavro.schema.fingerprint(canonical, "CRC-64-AVRO")][full] = schema
    return [
        f"{len(group)} schemas have the fingerprint {fingerprint}"
        for fingerprint, group in groups.items()
        if len(group) > 1
    ]


def _unreadable(versions: Sequence[Schema]) -> Iterator[str]:
    parsed = [avro.schema.parse(json.dumps(version)) for version in versions]
    for reader, writer in permutations(range(len(parsed)), 2):
        checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call] # its one line without types
        found = checker.get_compatibility(parsed[reader], parsed[writer])
        if found.compatibility is not SchemaCompatibilityType.compatible:
            why = "; ".join(sorted(found.messages))
            yield f"version {reader} cannot read what version {writer} wrote: {why}"


def _other_logical_types(versions: Sequence[Schema]) -> Iterator[str]:
    """The checker lets microseconds pass for milliseconds."""
    for before, after in pairwise(versions):
        was, now = dict(_logical_types(before)), dict(_logical_types(after))
        for place in was.keys() & now.keys():
            if was[place] != now[place]:
                yield f"{place} was {was[place]}, now {now[place]}"


def _logical_types(node: Any, place: str = "") -> Iterator[tuple[str, str | None]]:
    """Every place with a type, and its logical type; None for none."""
    if isinstance(node, list):
        for branch in node:
            yield from _logical_types(branch, place)
    elif isinstance(node, dict):
        if not isinstance(node["type"], dict):
            yield f"{place}:{_kind(node)}", node.get("logicalType")
        for field in node.get("fields", ()):
            yield from _logical_types(field["type"], f"{place}/{field['name']}")
        for inner in ("items", "values", "type"):
            if isinstance(node.get(inner), dict | list):
                yield from _logical_types(node[inner], place)
    elif node != "null":
        yield f"{place}:{node}", None


def _kind(node: Schema) -> str:
    return str(node.get("name", node["type"]))


def _undocumented(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _undocumented(value) for name, value in node.items() if name != "doc"}
    return [_undocumented(each) for each in node] if isinstance(node, list) else node
