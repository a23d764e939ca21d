"""Where the lines of supervised processes go: a prefixed view for people, or a file for each process."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, TextIO

import orjson

from penstock.cli.output import as_json, colours

if TYPE_CHECKING:
    from pathlib import Path

RESET, DIM, RED, YELLOW = "\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[33m"
PALETTE = ("\x1b[36m", "\x1b[35m", "\x1b[32m", "\x1b[34m", "\x1b[33m", "\x1b[96m", "\x1b[95m")
WIDTH = 9  # of the longest name of a service

_LEVELS = ("level", "severity")
_TIMES = ("timestamp", "time", "ts")
_MESSAGES = ("event", "message", "msg")


def readable(line: str) -> str:
    r"""A structured log line as people read it; any other line as it is.

    >>> readable('{"timestamp":"2013-01-01T05:00:00.123Z","level":"info","event":"ready","port":8001}')
    '05:00:00 info    ready port=8001'
    >>> readable("plain text")
    'plain text'
    """
    if not line.startswith("{"):
        return line
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return line
    stamp, level, event = (_take(fields, names) for names in (_TIMES, _LEVELS, _MESSAGES))
    if not event:
        return line
    trace = str(fields.pop("exception", ""))
    fields.pop("service", None)  # the prefix says it
    rest = " ".join(f"{key}={_shown(value)}" for key, value in fields.items())
    clock = stamp.partition("T")[2][:8]
    head = " ".join(part for part in (clock, f"{level:<7}" if level else "", event, rest) if part)
    return f"{head}\n{trace}".rstrip() if trace else head


def _shown(value: object) -> str:
    return value if isinstance(value, str) and value and not set(value) & set(' "=') else as_json(value)


def _take(fields: dict[str, object], names: tuple[str, ...]) -> str:
    for name in names:
        if name in fields:
            return str(fields.pop(name))
    return ""


class PrefixView:
    """Prints ``ingest    | …`` for every line; a log for `Supervisor`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colours = colours(stream)
        self._known: dict[str, str] = {}
        self._lock = threading.Lock()

    def __call__(self, name: str, line: str) -> None:
        with (
            self._lock,
            contextlib.suppress(OSError, ValueError),
        ):  # a closed terminal must not stop the services
            prefix = f"{name:<{WIDTH}} | "
            if self._colours:
                prefix = (
                    self._known.setdefault(name, PALETTE[len(self._known) % len(PALETTE)]) + prefix + RESET
                )
            for part in readable(line).split("\n"):
                self._stream.write(f"{prefix}{self._tinted(part)}\n")
            self._stream.flush()

    def _tinted(self, line: str) -> str:
        if not self._colours:
            return line
        for word, tint in ((" error ", RED), (" critical ", RED), (" warning ", YELLOW), (" debug ", DIM)):
            if word in line[:20]:
                return f"{tint}{line}{RESET}"
        return line


class FileLogs:
    """Appends every line, as it came, to ``FOLDER/NAME.log``; a log for `Supervisor`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._files: dict[str, TextIO] = {}
        self._lock = threading.Lock()

    def __call__(self, name: str, line: str) -> None:
        with self._lock:
            if name not in self._files:
                self._files[name] = (self._folder / f"{name}.log").open("a", encoding="utf-8", buffering=1)
            self._files[name].write(f"{line}\n")

    def close(self) -> None:
        """Close the files; call after the supervisor's `close`."""
        with self._lock:
            for file in self._files.values():
                file.close()
            self._files.clear()
