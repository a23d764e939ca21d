"""Which fields records have: dotted paths, from values or from an Avro schema."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from penstock.kernel.avrotypes import branches

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock.kernel.avrotypes import AvroType

MOST: Final = 300
"""Fields that are looked at; of more, those that most records have."""
_DEEPEST: Final = 6


def of_values(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """The paths of records, in the order of first appearance; of too many, the commonest.

    >>> of_values([{"id": 1, "user": {"plan": "pro"}}, {"id": 2, "tags": []}])
    ['id', 'user.plan', 'tags']
    """
    counts: Counter[str] = Counter()
    for record in records:
        counts.update(dict.fromkeys(_flat(record, "", 0), 1))
    kept = {path for path, _ in counts.most_common(MOST)}
    return [path for path in counts if path in kept]


def _flat(value: Mapping[str, Any], before: str, depth: int) -> Iterable[str]:
    for key, inner in value.items():
        path = f"{before}{key}"
        if not all(path.split(".")):
            continue  # no path leads there
        if isinstance(inner, Mapping) and inner and depth < _DEEPEST:
            yield from _flat(inner, f"{path}.", depth + 1)
        else:
            yield path


def of_type(kind: AvroType) -> list[str]:
    """The paths of a record type, in its order; those into maps are not known.

    >>> from penstock.kernel.avrotypes import read_type
    >>> user = {"type": "record", "name": "U", "fields": [{"name": "plan", "type": "string"}]}
    >>> fields = [{"name": "user", "type": ["null", user]}]
    >>> of_type(read_type({"type": "record", "name": "E", "fields": fields}))
    ['user.plan']
    """
    return list(dict.fromkeys(_leaves(kind, "", 0)))[:MOST]


def _leaves(kind: AvroType, before: str, depth: int) -> Iterable[str]:
    for branch in branches(kind):
        for name, field in branch.fields.items():
            path = f"{before}{name}"
            inner = [each for each in branches(field.type) if each.kind == "record"]
            if inner and depth < _DEEPEST:
                for each in inner:
                    yield from _leaves(each, f"{path}.", depth + 1)
            else:
                yield path
