"""Feature rows read by columns are those that the codec reads one by one, whatever the bytes say."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contracts.records import FeatureRow, Label
from penstock.kernel.errors import Invalid
from penstock.runtime.codec import Codec, UnknownSchema, row_schema
from penstock.runtime.columnar import read_rows

NAMES = ("age", "plan")
CODEC = Codec()
LAYOUTS = {
    names: CODEC.rows(FeatureRow, "churn", f"{place:04x}", names)
    for place, names in enumerate([NAMES, (*NAMES, "visits")])
}
WRITTEN_BY_OTHERS = CODEC.encode(Label(id="a", time=0, label=1.0))
words = st.text(st.characters(codec="utf-8"), max_size=80)
longs = st.integers(-(2**63), 2**63 - 1)


@st.composite
def payloads(draw: st.DrawFn) -> bytes | None:
    """A row, more often than not one with nothing cleared; or one with its bytes changed; or no row."""
    kind = draw(st.sampled_from(["row", "row", "row", "marked", "changed", "other"]))
    if kind == "other":
        return draw(st.sampled_from([None, b"", b"junk", WRITTEN_BY_OTHERS]))
    rows = LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))]
    head = FeatureRow(id=draw(words), time=draw(longs), cleared=(), flags=())
    if kind == "marked":
        cleared, flags = draw(st.lists(st.integers(0, 300), max_size=3)), draw(st.lists(words, max_size=2))
        head = FeatureRow(id=head.id, time=head.time, cleared=tuple(cleared), flags=tuple(flags))
    values = draw(st.lists(st.floats(), min_size=len(rows.names), max_size=len(rows.names)))
    [payload] = rows.encode([head], np.array([values]))
    if kind != "changed":
        return payload
    at = draw(st.integers(10, len(payload)))
    return payload[:at] + draw(st.binary(max_size=3)) + payload[at + draw(st.integers(0, 3)) :]


def one_by_one(
    batch: list[bytes | None],
) -> tuple[dict[int, tuple[Any, ...]], dict[int, tuple[str, str]]]:
    rows: dict[int, tuple[Any, ...]] = {}
    refused: dict[int, tuple[str, str]] = {}
    for place, payload in enumerate(batch):
        try:
            rows[place] = one(payload)
        except Invalid as why:
            refused[place] = str(why), why.reason
    return rows, refused


def one(payload: bytes | None) -> tuple[Any, ...]:
    if payload is None:
        raise Invalid("the record has no value", reason="empty")
    head, codec = CODEC.decode(payload)
    if not isinstance(head, FeatureRow) or codec is None:
        raise Invalid(f"a {type(head).__name__} is no feature row", reason="unexpected")
    return (codec.layout, head.id, head.time, head.cleared, codec.features_of(payload))


@settings(max_examples=150, deadline=None)
@given(batch=st.lists(payloads(), max_size=12))
def test_by_columns_as_one_by_one(batch: list[bytes | None]) -> None:
    found, refused = read_rows(CODEC, batch)
    told = {
        place: (rows.codec.layout, *head, line.tobytes())
        for rows in found
        for place, *head, line in zip(
            rows.places.tolist(), rows.ids, rows.times.tolist(), rows.cleared, rows.matrix, strict=True
        )
    }
    expected, why = one_by_one(batch)
    assert told == expected
    assert [list(rows.places) for rows in found] == [sorted(rows.places) for rows in found]
    assert {place: (str(each), each.reason) for place, each in refused.items()} == why


def test_rows_of_an_earlier_schema_are_read_too() -> None:
    whole = row_schema("FeatureRow", "churn", "00aa", NAMES)
    fields = [field for field in whole.raw["fields"] if field["name"] != "flags"]
    codec = Codec()
    earlier = type(whole)(json.dumps({**whole.raw, "fields": fields}))
    codec.learn(earlier.text)
    values = {"age": 1.0, "plan": 2.0}
    payload = earlier.header + earlier.write({"id": "a", "time": 5, "cleared": [1], "features": values})
    [found], refused = read_rows(codec, [payload, payload])
    assert (found.ids, found.times.tolist(), found.cleared) == (["a", "a"], [5, 5], [(1,), (1,)])
    assert found.matrix.tolist() == [[1.0, 2.0]] * 2
    assert not refused


def test_a_row_of_an_unknown_schema_is_waited_for() -> None:
    known = LAYOUTS[NAMES].encode([FeatureRow(id="a", time=0, cleared=(), flags=())], np.zeros((1, 2)))
    stranger = Codec().rows(FeatureRow, "churn", "ffff", NAMES)
    payload = stranger.encode([FeatureRow(id="b", time=0, cleared=(), flags=())], np.zeros((1, 2)))
    with pytest.raises(UnknownSchema):
        read_rows(CODEC, [*known, *payload])


def test_the_usual_row_is_not_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = Codec()
    rows = codec.rows(FeatureRow, "churn", "0000", NAMES)
    heads = [FeatureRow(id=f"id-{number}", time=number, cleared=(), flags=()) for number in range(50)]
    batch = rows.encode(heads, np.zeros((50, 2)))
    calls = []
    decode = codec.decode

    def counted(payload: bytes) -> Any:
        calls.append(payload)
        return decode(payload)

    monkeypatch.setattr(codec, "decode", counted)
    [found], _ = read_rows(codec, batch)
    assert found.ids == [head.id for head in heads]
    assert len(calls) == 1  # which tells the schema of all of them
