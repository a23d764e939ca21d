"""The feature vector: columns at once give what a row at a time would."""

from __future__ import annotations

import math
import pathlib
import zoneinfo
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.specfile import load
from penstock.kernel.errors import Invalid
from penstock.kernel.features import Vectors, vectorise, vectorise_columns
from penstock.kernel.kinds import Boolean, Category, Feature, Number, TimePart
from penstock.kernel.times import event_time_ms, local_ms

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples/flights"
FLOAT32_MAX = float(np.finfo(np.float32).max)
LAST = 253_402_300_799_999

PARTS = ("minute_of_day", "hour", "weekday", "day_of_month", "month")
ZONES = (
    "UTC",
    "America/New_York",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Apia",
)


class Refused(Exception):  # noqa: N818 - a verdict
    """The reason why a row is invalid."""


def oracle(
    features: list[Feature], row: dict[str, Any], time: int
) -> tuple[list[float], list[int], list[int]]:
    """One row, the plain way: codes, cleared, unseen."""
    codes, cleared, unseen = [], [], []
    for index, feature in enumerate(features):
        kind, value = feature.kind, row.get(feature.field)
        if isinstance(kind, TimePart) and kind.at_event_time:
            value = time
        code = math.nan if value is None else plain_code(kind, value)
        if isinstance(kind, Number) and not math.isnan(code) and outside(kind, code):
            cleared.append(index)
            code = math.nan
        if isinstance(kind, Category) and code == 0:
            unseen.append(index)
        if kind.required and math.isnan(code):
            raise Refused("out_of_range" if index in cleared else "missing")
        with np.errstate(over="ignore"):
            codes.append(float(np.float32(code)))
    return codes, cleared, unseen


def plain_code(kind: Number | Category | Boolean | TimePart, value: Any) -> float:
    match kind:
        case Number() if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                return float(value)
            except OverflowError:
                return math.inf
        case Category(values=tuple(known)) if isinstance(value, str):
            return float(known.index(value) + 1) if value in known else 0.0
        case Boolean() if isinstance(value, bool):
            return float(value)
        case TimePart():
            try:
                return part(kind, event_time_ms(value))
            except Invalid as invalid:
                raise Refused(invalid.reason) from invalid
    raise Refused("wrong_type")


def outside(kind: Number, code: float) -> bool:
    below = kind.min is not None and code < kind.min
    above = kind.max is not None and code > kind.max
    with np.errstate(over="ignore"):
        return below or above or math.isinf(np.float32(code))


def part(kind: TimePart, at: int) -> float:
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at + kind.shift)
    local = instant.astimezone(zoneinfo.ZoneInfo(kind.timezone))
    return {
        "minute_of_day": local.hour * 60 + local.minute,
        "hour": local.hour,
        "weekday": local.weekday(),
        "day_of_month": local.day,
        "month": local.month,
    }[kind.part]


words = st.sampled_from(["AA", "UA", "9E", "", "é"])
numbers = (
    st.floats()
    | st.floats(width=32)
    | st.integers(-10, 10)
    | st.sampled_from([10**400, -(10**400), 2**70, 1e39])
)
# Within the years in which zones change their clocks at quarters of an hour, and datetime can say so.
instants = st.integers(63_072_000_000, LAST - 10 * 86_400_000)
offenders = st.sampled_from(["x", True, 3, 2.5, b"AA", [1], {"a": 1}, None])
bounds = st.none() | st.floats(-100, 100)
kinds = st.one_of(
    st.builds(Number, min=bounds, max=bounds, required=st.booleans()),
    st.builds(Category, values=st.lists(words, min_size=1, unique=True).map(tuple), required=st.booleans()),
    st.builds(Boolean, required=st.booleans()),
    st.builds(
        TimePart,
        part=st.sampled_from(PARTS),
        field=st.just("at"),
        shift=st.sampled_from([0, 7_200_000, -86_400_000]),
        timezone=st.sampled_from(ZONES),
        required=st.booleans(),
        at_event_time=st.booleans(),
    ),
)


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[Feature], list[dict[str, Any]], list[int]]:
    features = [
        Feature(name=f"f{i}", kind=kind)
        for i, kind in enumerate(draw(st.lists(kinds, min_size=1, max_size=5)))
    ]
    proper = {Number: numbers, Category: words, Boolean: st.booleans(), TimePart: instants}
    values = {feature.field: proper[type(feature.kind)] for feature in features}
    if draw(st.booleans()):
        values = {name: st.one_of(strategy, st.none(), offenders) for name, strategy in values.items()}
    rows = draw(st.lists(st.fixed_dictionaries({}, optional=values), max_size=8))
    return features, rows, [draw(instants) for _ in rows]


@given(batches())
def test_columns_give_what_rows_would(batch: tuple[list[Feature], list[dict[str, Any]], list[int]]) -> None:
    features, rows, times = batch
    vectors = vectorise(features, rows, np.array(times, dtype=np.int64))
    assert vectors.matrix.shape == (len(rows), len(features))
    for index, (row, time) in enumerate(zip(rows, times, strict=True)):
        try:
            codes, cleared, unseen = oracle(features, row, time)
        except Refused as refused:
            assert vectors.invalid.pop(index).reason == str(refused)  # noqa: PT017 - either end is right
            codes, cleared, unseen = [math.nan] * len(features), [], []
        np.testing.assert_array_equal(vectors.matrix[index], codes)
        assert vectors.cleared[index] == tuple(cleared)
        assert vectors.unseen[index] == tuple(unseen)
    assert not vectors.invalid
    np.testing.assert_array_equal(vectors.matrix.astype(np.float32).astype(np.float64), vectors.matrix)


def one(kind: Number | Category | Boolean | TimePart, *values: object) -> Vectors:
    rows = [{} if value is ... else {"x": value} for value in values]
    return vectorise([Feature(name="x", kind=kind)], rows, np.zeros(len(rows), dtype=np.int64))


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (Number(), "8", "feature 'x' is '8', expected a number"),
        (Number(), True, "feature 'x' is true, expected a number"),
        (Category(values=("a",)), 1, "feature 'x' is 1, expected text"),
        (Boolean(), 1, "feature 'x' is 1, expected true or false"),
        (TimePart(part="hour", field="x"), "soon", "x is 'soon', expected a time"),
        (Number(required=True), ..., "feature 'x' is required, and missing"),
        (Number(required=True), math.nan, "feature 'x' is required, and missing"),
        (Number(required=True, max=1.0), 2, "feature 'x' is required, and out of range"),
        (Category(values=("a",), required=True), None, "feature 'x' is required, and missing"),
    ],
)
def test_a_wrong_value_makes_its_row_invalid_alone(
    kind: Number | Category, value: object, message: str
) -> None:
    good = {Number: 0.5, Category: "a", Boolean: True, TimePart: 0}[type(kind)]
    vectors = one(kind, good, value, good)
    assert list(vectors.invalid) == [1]
    assert str(vectors.invalid[1]).startswith(message)
    assert vectors.invalid[1].field == "x"
    assert not np.isnan(vectors.matrix[[0, 2]]).any()


def test_what_no_model_can_take_becomes_missing_and_is_counted() -> None:
    vectors = one(
        Number(min=-1.0, max=FLOAT32_MAX), 0, -2, math.inf, -math.inf, 1e39, 10**400, math.nan, None
    )
    assert np.isnan(vectors.matrix[1:, 0]).all()
    assert vectors.cleared == ((), (0,), (0,), (0,), (0,), (0,), (), ())
    assert vectors.invalid == {}


def test_an_unseen_category_is_zero_and_counted() -> None:
    vectors = one(Category(values=("a", "b")), "b", "c", None)
    np.testing.assert_array_equal(vectors.matrix[:, 0], [2, 0, math.nan])
    assert vectors.unseen == ((), (0,), ())


def test_categories_have_to_be_learned_first() -> None:
    with pytest.raises(ValueError, match="not learned"):
        one(Category(values=None), "a")


def test_an_empty_batch_has_the_right_shape() -> None:
    vectors = one(TimePart(part="hour", field="x", timezone="Europe/Berlin", at_event_time=True))
    assert vectors.matrix.shape == (0, 1)
    assert vectors.cleared == ()


def test_columns_may_come_as_arrays() -> None:
    features = [
        Feature(name="a", kind=Number(max=2.0)),
        Feature(name="b", kind=Boolean()),
        Feature(name="c", kind=Number()),
    ]
    columns = {"a": np.array([1, 2, 3], dtype=np.int64), "b": np.array([True, False, True])}
    vectors = vectorise_columns(features, columns, np.zeros(3, dtype=np.int64))
    np.testing.assert_array_equal(
        vectors.matrix, [[1, 1, math.nan], [2, 0, math.nan], [math.nan, 1, math.nan]]
    )
    assert vectors.cleared == ((), (), (0,))
    flags = vectorise_columns(features[:1], {"a": columns["b"]}, np.zeros(3, dtype=np.int64))
    assert list(flags.invalid) == [0, 1, 2]


@given(st.lists(instants, max_size=20), st.sampled_from(ZONES))
def test_the_local_clock_is_the_standard_library_s(times: list[int], zone: str) -> None:
    local = local_ms(np.array(times, dtype=np.int64), zone).tolist()
    for time, shown in zip(times, local, strict=True):
        clock = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time)).astimezone(
            zoneinfo.ZoneInfo(zone)
        )
        assert shown == (clock.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
            milliseconds=1
        )


def test_the_end_of_time_has_a_clock_too() -> None:
    assert local_ms(np.array([LAST]), "Asia/Tokyo").tolist() == [LAST + 9 * 3_600_000]


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        (1_357_016_400_000, 1_357_016_400_000),
        (1_357_016_400_000.0, 1_357_016_400_000),
        ("2013-01-01T05:00:00Z", 1_357_016_400_000),
        ("2013-01-01T05:00:00", 1_357_016_400_000),
        ("2013-01-01T00:00:00.123456-05:00", 1_357_016_400_123),
        (datetime(2013, 1, 1, 5, tzinfo=UTC), 1_357_016_400_000),
        (datetime(2013, 1, 1, tzinfo=timezone(timedelta(hours=-5))), 1_357_016_400_000),
        (0, 0),
        (LAST, LAST),
        ("9999-12-31T23:59:59.999999Z", LAST),
    ],
)
def test_event_times(value: object, ms: int) -> None:
    assert event_time_ms(value) == ms


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "wrong_type"),
        (True, "wrong_type"),
        ("", "wrong_type"),
        ("yesterday", "wrong_type"),
        (1.5, "wrong_type"),
        (math.nan, "wrong_type"),
        (math.inf, "wrong_type"),
        (["2013"], "wrong_type"),
        (-1, "implausible_time"),
        (LAST + 1, "implausible_time"),
        ("1969-12-31T23:59:59Z", "implausible_time"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), "implausible_time"),
    ],
)
def test_what_is_no_event_time(value: object, reason: str) -> None:
    with pytest.raises(Invalid, match="t is ") as invalid:
        event_time_ms(value, field="t")
    assert (invalid.value.reason, invalid.value.field) == (reason, "t")


def test_the_example_s_flights() -> None:
    """Real rows: the schedule comes out of the event time, and one weather station's defect is cleared."""
    with (EXAMPLE / "flights.avro").open("rb") as file:
        rows: list[dict[str, Any]] = [dict(row) for row in islice(fastavro.reader(file), 60_000)]  # type: ignore[arg-type]
    destinations = sorted({row["dest"] for row in rows[:8000]})
    flights = load(EXAMPLE / "flights.yaml").frozen({"dest": destinations})
    times = np.array([event_time_ms(row["t"]) for row in rows])
    vectors = vectorise(flights.features, rows, times)
    assert vectors.invalid == {}
    column = dict(zip(flights.feature_names, vectors.matrix.T, strict=True))
    departs = (times + 2 * 3_600_000) // 60_000 - 5 * 60  # New York's winter: an hour's change comes in March
    winter = times < event_time_ms("2013-03-10T05:00:00Z")
    np.testing.assert_array_equal(column["sched_dep"][winter], departs[winter] % 1440)
    np.testing.assert_array_equal(column["weekday"][winter], (departs[winter] // 1440 + 3) % 7)
    np.testing.assert_array_equal(
        column["sched_dep"][times > event_time_ms("2013-03-11T00:00:00Z")] >= 300, True
    )
    wind = flights.feature_names.index("wind_speed")
    blown = [index for index, row in enumerate(rows) if (row["wind_speed"] or 0) > 200]
    assert blown
    assert [index for index, cleared in enumerate(vectors.cleared) if cleared == (wind,)] == blown
