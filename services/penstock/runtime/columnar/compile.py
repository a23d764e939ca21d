"""From a schema to the steps that read a batch of its records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from penstock.kernel.columns import Values, take
from penstock.runtime.columnar import steps
from penstock.runtime.columnar.cursor import Cursor
from penstock.runtime.columnar.steps import Found, Real, Step

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from penstock.runtime.avro import Schema

_UNION: Final = 2


class _Unusual(Exception):  # noqa: N818 - not an error: the schema is read record by record
    """A type that is not read by columns."""


class AvroColumns:
    """Reads fields of a batch of records of one schema.

    A batch is read as `Schema.read` would read each of its records: the same values, of exactly the records
    that have no fault, logical types as what they are written as; in a column of doubles NaN stands for null.
    Records that are not as expected are left
    to it, and so is what to say of them.

    >>> from penstock.runtime.avro import Schema
    >>> schema = Schema(
    ...     '{"type": "record", "name": "P", "fields": [{"name": "id", "type": "string"},'
    ...     ' {"name": "x", "type": ["null", "double"]}]}'
    ... )
    >>> reader = AvroColumns.compile(schema, ["id", "x"])
    >>> bodies = [schema.write({"id": "a", "x": 0.5}), schema.write({"id": "b", "x": None}), b"?"]
    >>> columns, odd = reader.read(bodies)
    >>> columns["id"], columns["x"].tolist(), odd.tolist()
    (['a', 'b'], [0.5, nan], [False, False, True])
    """

    def __init__(self, plan: _Plan, absent: Sequence[str], largest: int) -> None:
        self._steps = plan.steps
        self._widest = plan.widest
        self._absent = tuple(absent)
        self._largest = largest

    @classmethod
    def compile(
        cls,
        schema: Schema,
        paths: Collection[str],
        *,
        numbers: Collection[str] = (),
        words: Collection[str] = (),
        largest: int = 1 << 30,
    ) -> AvroColumns | None:
        """The reader of these paths; None where the schema has types that are not read by columns.

        Args:
            schema: the records were written with.
            paths: dotted where a field lies in a record within the record.
            numbers: paths whose integers may come as doubles.
            words: paths with texts of which there are few different ones.
            largest: bytes of a payload; one of more is odd.
        """
        plan = _Plan(wanted=frozenset(paths), numbers=frozenset(numbers), words=frozenset(words))
        try:
            plan.add(schema.expanded(), "")
        except _Unusual:
            return None
        plan.end_run()
        return cls(plan, [path for path in paths if path not in plan.seen], largest)

    def read(
        self, payloads: Sequence[bytes], header: bytes = b""
    ) -> tuple[dict[str, Values], NDArray[np.bool_]]:
        """The columns of the records that are as expected, and which of all are not.

        Args:
            payloads: bodies behind a header.
            header: what each begins with; one that does not is odd.
        """
        cursor = Cursor(payloads, header, widest=self._widest)
        found: Found = {}
        for step in self._steps:
            step(cursor, found)
        cursor.finish()
        odd = cursor.odd | (cursor.sizes > self._largest)
        if odd.any():
            found = {path: take(values, ~odd) for path, values in found.items()}
        left = len(payloads) - int(odd.sum())
        found.update((path, [None] * left) for path in self._absent)
        return found, odd


@dataclass(slots=True, kw_only=True)
class _Plan:
    """The steps so far."""

    wanted: frozenset[str]
    numbers: frozenset[str]
    words: frozenset[str]
    steps: list[Step] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    widest: int = 0
    run: list[Real] = field(default_factory=list)

    def end_run(self) -> None:
        """Numbers of fixed width that stand together become one step."""
        if self.run:
            self.widest = max(self.widest, steps.width(self.run))
            self.steps.append(steps.reals(tuple(self.run)))
            self.run = []

    def add(self, schema: Any, path: str) -> None:
        """Read a value of this type at this path, which is '' for the record itself."""
        kind = schema["type"] if isinstance(schema, dict) else schema
        wanted = path if path in self.wanted else None
        if wanted is not None:
            self.seen.add(path)
        if isinstance(schema, list):
            self._nullable(schema, path)
        elif isinstance(kind, dict | list):
            self.add(kind, path)
        elif kind == "record":
            if wanted is not None:
                raise _Unusual
            for each in schema["fields"]:
                self.add(each["type"], f"{path}.{each['name']}" if path else each["name"])
        elif kind in steps.REALS:
            self.run.append(Real(wanted, kind))
        else:
            self.end_run()
            self.steps.append(self._simple(kind, schema, wanted))

    def _simple(self, kind: str, schema: Any, path: str | None) -> Step:  # noqa: PLR0911 - a table
        match kind:
            case "int" | "long":
                return steps.integers(path, number=path in self.numbers)
            case "boolean":
                return steps.booleans(path)
            case "string":
                return steps.words(path) if path is not None and path in self.words else steps.texts(path)
            case "enum":
                return steps.symbols(path, schema["symbols"])
            case "null":
                return steps.nothing(path)
            case "bytes":
                return steps.raw(path)
            case "fixed":
                return steps.fixed(path, schema["size"])
            case _:
                raise _Unusual

    def _nullable(self, union: Sequence[Any], path: str) -> None:
        if len(union) != _UNION or union.count("null") != 1:
            raise _Unusual
        null = union.index("null")
        inner = _Plan(wanted=self.wanted, numbers=self.numbers, words=self.words)
        inner.add(union[1 - null], path)
        inner.end_run()
        self.end_run()
        self.seen |= inner.seen
        self.widest = max(self.widest, inner.widest)
        self.steps.append(steps.nullable(_in_turn(inner.steps), null=null))


def _in_turn(inner: Sequence[Step]) -> Step:
    if len(inner) == 1:
        return inner[0]

    def step(cursor: Cursor, found: Found) -> None:
        for each in inner:
            each(cursor, found)

    return step
