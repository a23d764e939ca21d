"""The pipeline as a value: what is read, what is refused, what may change."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.kernel.changes import differences, refusals
from penstock.kernel.kinds import Boolean, Category, Number, TimePart
from penstock.kernel.mistakes import Mistakes
from penstock.kernel.pipeline import Pipeline
from penstock.kernel.units import Comparison, duration, show_duration, signed_duration

RAW: dict[str, Any] = {
    "pipeline": "flights",
    "task": "binary",
    "events": {"topic": "departures", "format": "json", "id": "id", "time": "t"},
    "labels": {
        "topic": "arrivals",
        "format": "json",
        "id": "id",
        "time": "t",
        "value": "delay",
        "positive": ">= 15",
        "horizon": "36h",
    },
    "features": {
        "origin": {"category": ["EWR", "JFK"]},
        "dest": {"category": "from_first_rows"},
        "wind": {"number": {"max": 200, "required": True}},
        "freight": "boolean",
        "weekday": {"weekday": "t", "shift": "2h", "timezone": "America/New_York"},
        "booked": {"hour": "booked_at"},
    },
}
MULTICLASS: dict[str, Any] = {
    **RAW,
    "task": "multiclass",
    "classes": ["early", "late"],
    "labels": {key: value for key, value in RAW["labels"].items() if key != "positive"},
}
REGRESSION = {**{key: value for key, value in MULTICLASS.items() if key != "classes"}, "task": "regression"}


def changed(*path: str, to: object, raw: dict[str, Any] = RAW) -> dict[str, Any]:
    """The raw mapping with the value at a path replaced, or removed where `to` is `...`."""
    document = copy.deepcopy(raw)
    at = document
    for key in path[:-1]:
        at = at.setdefault(key, {})
    if to is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = to
    return document


def complaints(raw: dict[str, Any]) -> list[str]:
    with pytest.raises(Mistakes) as found:
        Pipeline.read(raw)
    return [str(item) for item in found.value.items]


def test_values_have_real_types() -> None:
    flights = Pipeline.read(RAW)
    assert flights.labels.horizon == 129_600_000
    assert flights.labels.positive == Comparison(operator=">=", bound=15.0)
    assert [feature.kind for feature in flights.features] == [
        Category(values=("EWR", "JFK")),
        Category(values=None),
        Number(max=200.0, required=True),
        Boolean(),
        TimePart(part="weekday", field="t", shift=7_200_000, timezone="America/New_York", at_event_time=True),
        TimePart(part="hour", field="booked_at"),
    ]
    assert flights.unlearned == ("dest",)


@pytest.mark.parametrize(
    ("raw", "objective", "lanes", "outputs"),
    [(RAW, "log_loss", 3, 1), (MULTICLASS, "log_loss", 3, 2), (REGRESSION, "squared_error", 2, 1)],
)
def test_defaults_follow_the_task(raw: dict[str, Any], objective: str, lanes: int, outputs: int) -> None:
    pipeline = Pipeline.read(raw)
    assert pipeline.policy.objective == objective
    assert len(pipeline.lanes) == lanes
    assert pipeline.outputs == outputs


@pytest.mark.parametrize("raw", [RAW, MULTICLASS, REGRESSION, changed("explain", to={"sample": 0.25})])
def test_the_applied_form_reads_back_as_the_same_pipeline(raw: dict[str, Any]) -> None:
    pipeline = Pipeline.read(raw)
    again = Pipeline.read(orjson.loads(pipeline.canonical()))
    assert again == pipeline
    assert again.canonical() == pipeline.canonical()


def test_the_digest_names_the_pipeline_however_it_is_written() -> None:
    spelt_out = changed("labels", "horizon", to="2160m")
    spelt_out["features"]["wind"] = {"number": {"required": True, "max": 200.0}}
    spelt_out["owner"] = ""
    assert Pipeline.read(dict(reversed(spelt_out.items()))).digest == Pipeline.read(RAW).digest
    assert Pipeline.read(changed("owner", to="me")).digest != Pipeline.read(RAW).digest
    assert Pipeline.read(changed("explain", to={"sample": 0.0})).digest == Pipeline.read(RAW).digest
    assert Pipeline.read(changed("explain", to={"sample": 0.5})).digest != Pipeline.read(RAW).digest


def test_the_explained_share_is_a_share_of_the_ids() -> None:
    explain = Pipeline.read(changed("explain", "sample", to=0.1)).explain
    taken = [id_ for id_ in map(str, range(10_000)) if explain.takes(id_)]
    assert 900 < len(taken) < 1100
    assert all(replace(explain, sample=0.2).takes(id_) for id_ in taken)


def test_the_features_digest_is_about_the_vector_alone() -> None:
    digest = Pipeline.read(RAW).features_digest
    assert len(digest) == 16
    same = [("owner",), ("labels", "horizon"), ("features", "wind", "number", "required")]
    for path, to in zip(same, ("me", "1d", False), strict=True):
        assert Pipeline.read(changed(*path, to=to)).features_digest == digest
    reordered = changed("features", to=dict(reversed(RAW["features"].items())))
    for other in (
        reordered,
        changed("features", "wind", "number", "max", to=100),
        changed("features", "origin", to={"category": ["JFK", "EWR"]}),
        changed("features", "weekday", "shift", to="3h"),
    ):
        assert Pipeline.read(other).features_digest != digest


def test_learned_categories_are_frozen_into_the_pipeline() -> None:
    flights = Pipeline.read(RAW).frozen({"dest": ["IAH", "MIA"], "origin": ["never", "asked"]})
    assert flights.unlearned == ()
    assert flights.features[1].kind == Category(values=("IAH", "MIA"))
    assert flights.features[0].kind == Category(values=("EWR", "JFK"))
    assert Pipeline.read(orjson.loads(flights.canonical())) == flights
    assert flights.frozen({"dest": ["BOS"]}) == flights


def test_an_avro_schema_is_inline_in_the_applied_form() -> None:
    fields: list[dict[str, Any]] = [
        {"name": name, "type": "string"} for name in ("id", "t", "origin", "dest", "booked_at")
    ]
    fields += [{"name": "wind", "type": ["null", "float"]}, {"name": "freight", "type": "boolean"}]
    schema = {"type": "record", "name": "Departure", "fields": fields}
    flights = Pipeline.read(changed("events", "format", to={"avro": {"schema": schema}}))
    assert orjson.loads(flights.events.format.schema) == schema
    assert Pipeline.read(orjson.loads(flights.canonical())) == flights
    of_file = Pipeline.read(changed("events", "format", to={"avro": "departure.avsc"}))
    assert (of_file.events.format.file, of_file.events.format.schema) == ("departure.avsc", "")


@pytest.mark.parametrize(
    ("field", "declared", "complaint"),
    [
        (
            "freight",
            "string",
            "features.freight: field 'freight' is string in the Avro schema, expected boolean",
        ),
        (
            "wind",
            ["null", "string"],
            "features.wind: field 'wind' is string in the Avro schema, expected int, long",
        ),
        ("t", {"type": "long", "logicalType": "timestamp-micros"}, ""),
        ("t", {"type": "int", "logicalType": "time-millis"}, "events.time: field 't' is time-millis in the"),
        ("wind", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, ""),
        ("id", {"type": "string", "logicalType": "uuid"}, ""),
        ("id", ["null", "boolean", "bytes"], "events.id: field 'id' is boolean or bytes in the Avro schema"),
        ("origin", {"type": "enum", "name": "O", "symbols": ["EWR"]}, ""),
        ("booked_at", {"type": "long", "logicalType": "timestamp-millis"}, ""),
        ("wind", "some.named.Type", ""),
    ],
)
def test_the_avro_schema_has_to_fit(field: str, declared: object, complaint: str) -> None:
    types: dict[str, object] = dict.fromkeys(("id", "t", "origin", "dest", "booked_at"), "string")
    types |= {"wind": "float", "freight": "boolean", field: declared}
    fields = [{"name": name, "type": kind} for name, kind in types.items()]
    schema = {"type": "record", "name": "Departure", "fields": fields}
    _, told = read(changed("events", "format", to={"avro": {"schema": schema}}), whole=True)
    assert len(told) == bool(complaint)
    assert all(each.startswith(complaint) for each in told)


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (changed("tsak", to="binary"), "tsak: unknown key 'tsak' (did you mean 'task'?)"),
        (changed("task", to=...), "'task' is missing"),
        (changed("pipeline", to="a.b"), "pipeline: expected a name of lower case letters, digits, - and _"),
        (changed("labels", "available", to="later"), "labels.available: unknown value 'later'"),
        (
            changed("classes", to=["a", "b"]),
            "classes: only task multiclass has classes",
        ),
        (changed("classes", to=..., raw=MULTICLASS), "'classes' is missing: task multiclass"),
        (changed("classes", to=["a", "a"], raw=MULTICLASS), "classes.1: class 'a' stands here twice"),
        (changed("classes", to=["a"], raw=MULTICLASS), "classes: expected at least two classes"),
        (changed("explain", "sample", to=1.5), "explain.sample: expected at most 1, got 1.5"),
        (changed("explain", "share", to=0.5), "explain.share: unknown key 'share'"),
        (changed("labels", "positive", to="> 1", raw=REGRESSION), "labels.positive: only task binary"),
        (
            changed("labels", "positive", to=15),
            "labels.positive: expected a comparison such as '>= 15', got 15",
        ),
        (changed("labels", "horizon", to="0h"), "labels.horizon: expected a duration longer than 0"),
        (changed("labels", "horizon", to=36), "labels.horizon: expected a duration such as 36h, got 36"),
        (changed("labels", "value", to="a..b"), "labels.value: 'a..b' has a dot with no name beside it"),
        (changed("labels", "topic", to="departures"), "labels.topic: labels need a topic of their own"),
        (changed("labels", "available", to="after_action"), "labels.available: labels that only come after"),
        (changed("events", "format", to="avro"), "events.format: avro needs its schema: {avro: FILE}"),
        (
            changed("events", "format", to={"avro": 1}),
            "events.format.avro: expected the file of an Avro record",
        ),
        (changed("features", to={}), "features: expected at least one of the features"),
        (changed("features", to=[{"a": "number"}, {"a": "number"}]), "features.1.a: 'a' stands here twice"),
        (changed("features", to=3), "features: expected names and values, got 3"),
        (
            changed("features", "wind", to={"number": {}, "min": 3}),
            "features.wind.min: unknown key 'min' beside",
        ),
        (
            changed("features", "wind", to={"number": {"min": 3, "max": 2}}),
            "features.wind.number: min 3 is above",
        ),
        (changed("features", "wind", to="category"), "features.wind: category needs more"),
        (
            changed("features", "wind", to="bool"),
            "features.wind: unknown type 'bool' (did you mean 'boolean'?)",
        ),
        (
            changed("features", "wind", to={"category": []}),
            "features.wind.category: a category needs at least",
        ),
        (changed("features", "wind", to={"category": [1]}), "features.wind.category.0: expected text, got 1"),
        (changed("features", "weekday", "part", to="hour"), "features.weekday.part: unknown key 'part'"),
        (changed("features", "weekday", "hour", to="t"), "features.weekday.hour: is already a weekday"),
        (changed("lanes", to={}), "lanes: expected at least one of the lanes"),
        (changed("lanes", "x", to=3), "lanes.x: expected keys and values, got 3"),
        (
            changed("lanes", "x", "algorithm", to="logistic_regression", raw=REGRESSION),
            "lanes.x.algorithm: logistic_regression needs classes",
        ),
        (
            changed("policy", "objective", to="squared_error"),
            "policy.objective: 'squared_error' does not fit",
        ),
        (
            changed("policy", "canary", "shares", to=[0.5, 0.5]),
            "policy.canary.shares: expected shares that grow",
        ),
        (
            changed("policy", "canary", "shares", to=[2]),
            "policy.canary.shares.0: expected less than 1, got 2",
        ),
        (changed("policy", "alarm", to=[]), "policy.alarm: expected keys and values, got a list"),
        (changed("policy", "compare", "level", to="x"), "policy.compare.level: expected a number, got 'x'"),
        (changed("policy", "compare", "level", to=True), "policy.compare.level: expected a number, got true"),
        (
            changed("policy", "alarm", "block", to="5 rows per"),
            "policy.alarm.block: expected a duration such as 6h",
        ),
        (changed("policy", "retrain", "at_most", to="0 per 1d"), "policy.retrain.at_most: expected a rate"),
    ],
)
def test_a_mistake_says_where_and_what(raw: dict[str, Any], complaint: str) -> None:
    told = complaints(raw)
    assert len(told) == 1
    assert told[0].startswith(complaint)


def test_all_mistakes_come_at_once_in_the_order_of_the_file() -> None:
    raw = changed("policy", to={"watch": "x", "wach": 1})
    raw["features"]["wind"] = "flaot"
    raw["events"]["topic"] = "a b"
    raw["labels"].pop("value")
    assert [told.split(":")[0] for told in complaints(raw)] == [
        "events.topic",
        "labels",
        "features.wind",
        "policy.watch",
        "policy.wach",
    ]


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


def _paths(value: object, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    below = (
        [path for key, each in value.items() for path in _paths(each, (*prefix, key))]
        if isinstance(value, dict)
        else []
    )
    return [prefix, *below] if prefix else below


FULL = {**Pipeline.read(RAW).raw(), "features": RAW["features"], "lanes": {"a": {"window": "28d"}}}


@settings(max_examples=300)
@given(path=st.sampled_from(_paths(FULL)), value=anything)
def test_whatever_is_written_is_read_or_refused_in_plain_words(path: tuple[str, ...], value: object) -> None:
    pipeline, told = read(changed(*path, to=value, raw=FULL))
    if pipeline is None:
        assert told
    else:
        assert Pipeline.read(orjson.loads(pipeline.canonical())) == pipeline
    for message in told:
        assert not any(
            word in message.lower() for word in ("input should", "pydantic", "value error", "cannot be")
        )


def read(raw: dict[str, Any], *, whole: bool = False) -> tuple[Pipeline | None, list[str]]:
    try:
        return Pipeline.read(raw), []
    except Mistakes as found:
        return None, [str(mistake) if whole else mistake.message for mistake in found.items]


@given(st.integers(min_value=-(10**12), max_value=10**12))
def test_a_duration_is_read_as_it_was_shown(ms: int) -> None:
    assert signed_duration(show_duration(ms)) == ms


@pytest.mark.parametrize(("text", "ms"), [("36h", 129_600_000), ("2w", 1_209_600_000), ("5min", 300_000)])
def test_durations(text: str, ms: int) -> None:
    assert duration(text) == ms


@pytest.mark.parametrize(
    ("text", "number", "applies"),
    [
        (">= 15", 15, True),
        ("> 15", 15, False),
        ("<= -1.5", -2, True),
        ("<0", 0, False),
        ("== 1", 1, True),
        ("!= 1", 1, False),
    ],
)
def test_comparisons(text: str, number: float, applies: bool) -> None:
    assert Comparison.read(text).applies(number) is applies
    assert Comparison.read(str(Comparison.read(text))) == Comparison.read(text)


def test_differences_are_told_line_by_line() -> None:
    new = changed("labels", "horizon", to="2d")
    new["features"]["origin"] = {"category": ["EWR", "JFK", "LGA"]}
    new["features"]["gate"] = "number"
    new["lanes"] = {"everything": {}, "recent": {"window": "28d"}}
    assert differences(Pipeline.read(RAW), Pipeline.read(new)) == [
        "labels.horizon: '36h' → '2d'",
        "features.origin.category.values: with LGA",
        "features.gate: added, number",
        "lanes.recent.window: '56d' → '28d'",
        "lanes.linear: removed",
    ]
    assert differences(Pipeline.read(RAW), Pipeline.read(RAW)) == []


@pytest.mark.parametrize(
    "new",
    [
        RAW,
        changed("owner", to="me"),
        changed("labels", "horizon", to="48h"),
        changed("features", "gate", to="number"),
        changed("features", "origin", "category", to=["EWR", "JFK", "LGA"]),
        changed("features", "dest", "category", to=["IAH"]),
        changed("features", "wind", "number", to={"max": 100}),
        changed("policy", "approval", to="manual"),
    ],
)
def test_growth_is_allowed(new: dict[str, Any]) -> None:
    assert refusals(Pipeline.read(RAW), Pipeline.read(new)) == []


@pytest.mark.parametrize(
    ("new", "refusal"),
    [
        (changed("pipeline", to="trains"), "the name cannot change: flights → trains"),
        (MULTICLASS, "the task cannot change: binary → multiclass"),
        (changed("labels", "value", to="minutes"), "labels.value cannot change: delay → minutes"),
        (changed("labels", "positive", to=">= 30"), "labels.positive cannot change: >= 15 → >= 30"),
        (changed("labels", "positive", to=...), "labels.positive cannot change: >= 15 → nothing"),
        (changed("features", "booked", to=...), "feature 'booked' cannot be removed"),
        (changed("features", to=dict(reversed(RAW["features"].items()))), "feature 'origin' cannot be moved"),
        (changed("features", "wind", to="boolean"), "feature 'wind' cannot change its type"),
        (changed("features", "weekday", "shift", to="3h"), "feature 'weekday' cannot take another part"),
        (
            changed("features", "origin", "category", to=["JFK", "EWR"]),
            "categories of 'origin' keep their places",
        ),
        (changed("features", "origin", "category", to=["EWR"]), "categories of 'origin' keep their places"),
        (
            changed("features", "origin", "category", to="from_first_rows"),
            "feature 'origin' has learned its 2",
        ),
    ],
)
def test_another_meaning_is_another_pipeline(new: dict[str, Any], refusal: str) -> None:
    told = refusals(Pipeline.read(RAW), Pipeline.read(new))
    assert any(each.startswith(refusal) for each in told)
