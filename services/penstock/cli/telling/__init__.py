"""Events of the control topics in words, for whoever is called at three in the morning."""

from __future__ import annotations

from penstock.cli.telling import decisions, evidence, others  # noqa: F401 - each brings its sentences
from penstock.cli.telling.figures import numbers
from penstock.cli.telling.sentence import told
from penstock.contracts import records as r

__all__ = ["compared_in", "reason_of", "time_of", "told"]


def reason_of(event: object) -> str:
    """Why, where the event says so; empty where it does not."""
    return str(getattr(event, "reason", ""))


def compared_in(event: object) -> str:
    """The numbers that a decision or a gate compared; empty where there are none."""
    return numbers(event.metrics if isinstance(event, r.VersionRegistered) else getattr(event, "numbers", {}))


def time_of(event: object) -> int | None:
    """Event time at which something was decided, known or asked for; None where it has none.

    A command has none: its `time` is the clock of whoever asked. A summary is of many times.
    """
    match event:
        case r.VersionRegistered(asked=asked) | r.CandidateTrained(manifest=r.Manifest(asked=asked)):
            return asked
    field = "time" if hasattr(event, "ordinal") else "event_time"
    found: int | None = getattr(event, field, None)
    return found
