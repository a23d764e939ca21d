"""What people see: prefixed logs of the services, and how the demo goes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from penstock.cli.demo.view import PLAIN_EVERY, LiveView, PlainView, Snapshot, view
from penstock.cli.logview import FileLogs, PrefixView

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


LINE = (
    '{"time": "2013-01-01T05:00:00.123Z", "level": "warning", "service": "ingest",'
    ' "event": "waiting", "why": "no broker"}'
)


def test_lines_are_prefixed_and_structured_ones_readable() -> None:
    stream = io.StringIO()
    log = PrefixView(stream)
    log("ingest", LINE)
    log("broker", "plain")
    assert stream.getvalue() == ('ingest    | 05:00:00 warning waiting why="no broker"\nbroker    | plain\n')


def test_a_traceback_is_shown_line_by_line() -> None:
    stream = io.StringIO()
    PrefixView(stream)("ingest", '{"level": "error", "event": "crashed", "exception": "Traceback\\n  here"}')
    assert stream.getvalue().splitlines() == [
        "ingest    | error   crashed",
        "ingest    | Traceback",
        "ingest    |   here",
    ]


def test_only_a_terminal_gets_colours_and_only_if_it_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    PrefixView(terminal)("ingest", LINE)
    assert "\x1b[" in terminal.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    PrefixView(plain)("ingest", LINE)
    assert "\x1b[" not in plain.getvalue()


def test_a_closed_terminal_does_not_stop_what_is_logged() -> None:
    stream = io.StringIO()
    log = PrefixView(stream)
    stream.close()
    log("ingest", "nobody reads this")


def test_file_logs_keep_every_line_as_it_came(tmp_path: Path) -> None:
    logs = FileLogs(tmp_path / "logs")
    logs("ingest", LINE)
    logs("ingest", "more")
    logs.close()
    assert (tmp_path / "logs" / "ingest.log").read_text() == f"{LINE}\nmore\n"


SNAPSHOT = Snapshot(
    day=12.4,
    days=240,
    events=1_000,
    events_total=2_000,
    labels=900,
    rows_per_s=880.0,
    asked=10,
    answered=9,
    restarts=1,
)


def test_the_plain_view_says_something_now_and_then() -> None:
    clock = iter([0.0, 1.0, PLAIN_EVERY, PLAIN_EVERY, PLAIN_EVERY + 1])
    stream = io.StringIO()
    shown = PlainView(stream, now=lambda: next(clock))
    with shown:
        shown.phase("replaying")
        shown.tell("day  35.2  promotion")
        shown.show(SNAPSHOT)
        shown.show(SNAPSHOT)
        shown.show(SNAPSHOT)
    assert stream.getvalue().splitlines() == [
        "demo: replaying",
        "demo:   day  35.2  promotion",
        "demo: day 12 of 240: 1,000 of 2,000 events (880/s), 900 labels, gRPC 9 of 10, 1 restarts",
    ]


def test_the_live_view_moves_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    shown = view(terminal)
    assert isinstance(shown, LiveView)
    with shown:
        shown.phase("replaying")
        shown.show(SNAPSHOT)
        shown.tell("day  35.2  promotion")
    assert "day  35.2  promotion" in terminal.getvalue()
    assert "day 12 of 240" in terminal.getvalue()
    assert isinstance(view(io.StringIO()), PlainView)
