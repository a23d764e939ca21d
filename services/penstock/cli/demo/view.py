"""What a person sees of the replay, on stderr: a live line on a terminal, else a plain one now and then."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from penstock.cli.output import colours

if TYPE_CHECKING:
    from collections.abc import Callable

PLAIN_EVERY = 10.0
"""Seconds between two plain lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The replay at one moment."""

    day: float
    """Event days that the system has judged."""
    days: int
    events: int
    events_total: int
    labels: int
    rows_per_s: float
    """Events sent a second, lately."""
    asked: int
    answered: int
    restarts: int

    def __str__(self) -> str:
        restarts = f", {self.restarts} restarts" if self.restarts else ""
        return (
            f"day {self.day:.0f} of {self.days}: {self.events:,} of {self.events_total:,} events"
            f" ({self.rows_per_s:,.0f}/s), {self.labels:,} labels, gRPC {self.answered:,} of {self.asked:,}"
            f"{restarts}"
        )


class View(Protocol):
    """Shows phases and how the replay goes."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def phase(self, name: str) -> None:
        """Something else begins."""
        ...

    def show(self, snapshot: Snapshot) -> None:
        """The replay stands here."""
        ...

    def tell(self, line: str) -> None:
        """Something happened that belongs to the story; called from any thread."""
        ...


class PlainView:
    """Lines for a log file."""

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._now = now
        self._due = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def phase(self, name: str) -> None:
        print(f"demo: {name}", file=self._stream, flush=True)
        self._due = self._now() + PLAIN_EVERY

    def show(self, snapshot: Snapshot) -> None:
        if self._now() >= self._due:
            print(f"demo: {snapshot}", file=self._stream, flush=True)
            self._due = self._now() + PLAIN_EVERY

    def tell(self, line: str) -> None:
        print(f"demo:   {line}", file=self._stream, flush=True)


class LiveView:
    """A progress bar that moves."""

    def __init__(self, stream: TextIO) -> None:
        # Imported here: it takes 0.1 s, and only a terminal needs it.
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        console = Console(file=stream)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def phase(self, name: str) -> None:
        self._progress.console.print(f"[dim]{name}[/dim]", highlight=False)
        self._progress.update(self._task, description=name, total=None, completed=0)

    def show(self, snapshot: Snapshot) -> None:
        self._progress.update(
            self._task, description=str(snapshot), total=snapshot.days, completed=snapshot.day
        )

    def tell(self, line: str) -> None:
        self._progress.console.print(line, highlight=False, markup=False)


def view(stream: TextIO) -> View:
    """The view that suits the stream."""
    return LiveView(stream) if colours(stream) else PlainView(stream)
