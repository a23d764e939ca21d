"""What is to be replayed, ready to be sent, and what the system can have judged of it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock.cli.demo.flights import DAY_MS
from penstock.kernel.blocks import sealed, time_block
from penstock.runtime.avro import Schema
from penstock.runtime.broker import Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from penstock.cli.demo.flights import Flight
    from penstock.kernel.formats import Format
    from penstock.kernel.pipeline import Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Messages in the order in which the world would have sent them; times in milliseconds."""

    flights: Sequence[Flight]
    days: int
    horizon: int
    unit: int
    """Length of the time blocks that alarms are judged by, at most."""
    exact: bool = True
    """They have just this length; else nobody can say beforehand where they end."""
    event_times: Sequence[int]
    events: Sequence[Message]
    label_times: Sequence[int]
    labels: Sequence[Message]

    @property
    def end(self) -> int:
        """The last event time of all."""
        return max(self.event_times[-1], self.label_times[-1] if self.label_times else 0)

    def needed(self, now: int) -> int:
        """Up to where records have to be sent before more can be judged than `now`."""
        place = bisect_left(self.event_times, now - self.horizon)
        if place == len(self.event_times):
            return self.end
        closes = self._closes(place)
        later = [
            times[after]
            for times in (self.event_times, self.label_times)
            if (after := bisect_right(times, closes)) < len(times)
        ]
        return min(later, default=self.end)

    def judged(self, until: int | None = None) -> int | None:
        """How far everything will be judged once all before `until` is sent; None where nothing can be, or
        nobody can say.

        Args:
            until: event time; None for the whole script.
        """
        if not self.exact:
            return None
        sent = [
            times[place - 1]
            for times in (self.event_times, self.label_times)
            if (place := len(times) if until is None else bisect_left(times, until))
        ]
        watermark = max(sent, default=None)
        place = len(self.event_times) if until is None else bisect_left(self.event_times, until)
        while place:
            place -= 1
            start = time_block(self.event_times[place], self.unit)
            if sealed(start, self.unit, horizon=self.horizon, watermark=watermark):
                return self._closes(place)
        return None

    def _closes(self, place: int) -> int:
        """The event time that closes the block of an event: its end, and the horizon."""
        return time_block(self.event_times[place], self.unit) + self.unit + self.horizon


def script(flights: Sequence[Flight], days: int, pipeline: Pipeline) -> Script:
    """The flights as messages for a pipeline."""
    landed = sorted((flight.landed, flight.id, flight.label) for flight in flights if flight.label)
    departures, arrivals = pipeline.events, pipeline.labels
    block, horizon = pipeline.policy.alarm.block, arrivals.horizon
    return Script(
        flights=flights,
        days=days,
        horizon=horizon,
        unit=block.size if block.of == "time" else DAY_MS,
        exact=block.of == "time",
        event_times=[flight.due for flight in flights],
        events=_messages(departures.topic, departures.format, (flight.event for flight in flights)),
        label_times=[when for when, _, _ in landed if when is not None],
        labels=_messages(arrivals.topic, arrivals.format, (label for _, _, label in landed if label)),
    )


def _messages(topic: str, form: Format, records: Iterable[Mapping[str, Any]]) -> list[Message]:
    schema = Schema(form.schema)
    return [Message(topic, schema.header + schema.write(it), it["id"].encode()) for it in records]
