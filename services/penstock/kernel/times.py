"""Event times as milliseconds since 1970, and the local clock at a time."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np

from penstock.kernel.errors import Invalid
from penstock.kernel.mistakes import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from penstock.kernel.columns import Values
    from penstock.kernel.kinds import Part

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_LAST: Final = 253_402_300_799_999  # the last millisecond of the year 9999
# Since 1972 no zone has changed its clock within a quarter of an hour of UTC.
_QUARTER: Final = 900_000
_LAST_QUARTER: Final = (_LAST - 2 * 86_400_000) // _QUARTER  # two days short of what datetime can hold


def event_time_ms(value: object, *, field: str = "") -> int:
    """Milliseconds since 1970 of a time as a record holds it.

    Args:
        value: a datetime (Avro's timestamps), ISO-8601 text, or milliseconds since 1970. One that names no
            zone is taken as UTC, as Avro, Kafka and most logs mean it.
        field: the field it came from, for the message.

    Raises:
        Invalid: not a time, or one before 1970 or after the year 9999.

    >>> event_time_ms("2013-01-01T05:00:00Z"), event_time_ms("2013-01-01T00:00:00.5-05:00")
    (1357016400000, 1357016400500)
    """
    ms = _read(value)
    name = field or "time"
    if ms is None:
        message = f"{name} is {show(value)}, expected a time: ISO-8601 text or milliseconds since 1970"
        raise Invalid(message, field=field, reason="wrong_type")
    if not 0 <= ms <= _LAST:
        message = f"{name} is {show(value)}, expected a time from 1970 to 9999"
        raise Invalid(message, field=field, reason="implausible_time")
    return ms


def event_times_ms(values: Values) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """`event_time_ms` of a column, and the rows of which it has to be asked one by one; their time is 0 here.

    >>> event_times_ms(np.array([1357016400000, -1]))
    (array([1357016400000,             0]), array([False,  True]))
    """
    count = len(values)
    if isinstance(values, np.ndarray):
        known = values.astype(np.int64) if values.dtype == np.int64 else None
    else:
        known = _integers(values)
    if known is None:
        return np.zeros(count, dtype=np.int64), np.ones(count, dtype=np.bool_)
    odd = (known < 0) | (known > _LAST)
    known[odd] = 0
    return known, odd


def _integers(values: Sequence[object]) -> NDArray[np.int64] | None:
    """The values, where all are whole numbers of at most 64 bits."""
    if not set(map(type, values)) <= {int}:
        return None
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError:
        return None


def _read(value: object) -> int | None:
    match value:
        case bool():
            return None
        case int():
            return value
        case float():
            return int(value) if value.is_integer() else None
        case str():
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                return None
        case datetime():
            pass
        case _:
            return None
    return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH) // _MS


@functools.lru_cache(maxsize=1 << 16)
def _offset(timezone: str, quarter: int) -> int:
    """Milliseconds by which a zone's clock is ahead of UTC during one quarter of an hour since 1970."""
    instant = _EPOCH + min(quarter, _LAST_QUARTER) * _QUARTER * _MS
    offset = instant.astimezone(ZoneInfo(timezone)).utcoffset()
    return (offset or timedelta()) // _MS


def local_ms(times: NDArray[np.int64], timezone: str) -> NDArray[np.int64]:
    """What a clock in the zone shows, as milliseconds since its own 1970-01-01T00:00; shape kept.

    >>> local_ms(np.array([1357016400000]), "America/New_York").astype("datetime64[ms]")
    array(['2013-01-01T00:00:00.000'], dtype='datetime64[ms]')
    """
    if timezone == "UTC":
        return times
    quarters, where = np.unique(times // _QUARTER, return_inverse=True)
    offsets = [_offset(timezone, quarter) for quarter in quarters.tolist()]
    return times + np.array(offsets, dtype=np.int64)[where]


def part_of(part: Part, local: NDArray[np.int64]) -> NDArray[np.int64]:
    """A part of the time a local clock shows, in milliseconds since its own 1970.

    >>> friday = np.array([1357304461000])  # 2013-01-04T13:01:01
    >>> [int(part_of(part, friday)[0]) for part in ("minute_of_day", "hour", "weekday", "month")]
    [781, 13, 4, 1]
    """
    match part:
        case "minute_of_day":
            return local // 60_000 % 1440
        case "hour":
            return local // 3_600_000 % 24
        case "weekday":
            return (local // 86_400_000 + 3) % 7  # 1970-01-01 was a Thursday
        case "month":
            return local.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64) % 12 + 1
        case "day_of_month":
            days = local.astype("datetime64[ms]").astype("datetime64[D]")
            since_first: NDArray[np.timedelta64] = days - days.astype("datetime64[M]")
            return since_first.astype(np.int64) + 1
