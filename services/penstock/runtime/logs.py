"""Structured logs on stderr: one JSON object a line, from our code and from the libraries alike.

    {"time": "2013-01-01T05:00:00.000Z", "level": "info", "service": "ingest", "event": "started"}

`event` is a stable word to filter by; what varies goes in fields. A condition that lasts (a broker that is
away) is said when it begins and when it ends, by `Conditions`, not each time it is met. Payloads do not
belong in logs: bytes are shown as their size, long text is cut. Until `configure` is called, structlog
prints lines on stdout: whoever runs services' code calls it first.
"""

from __future__ import annotations

import logging
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping
    from typing import TextIO

    from structlog.typing import FilteringBoundLogger, Processor

    Fields = MutableMapping[str, Any]

Style = Literal["json", "text"]

_LONGEST: Final = 2000  # characters of one field: enough for a traceback's last frames, not for a payload
_SECRETIVE: Final = frozenset({"payload", "value", "body", "password", "token"})


def get(**fields: object) -> FilteringBoundLogger:
    """A logger whose lines all carry `fields`."""
    logger: FilteringBoundLogger = structlog.get_logger(**fields)
    return logger


def configure(
    service: str,
    *,
    style: Style = "json",
    now: Callable[[], float] = time.time,
    stream: TextIO | None = None,
) -> None:
    """Send every log line of this process to `stream`; called once, by the composition root.

    Args:
        service: what the lines say they are from.
        style: `json` for machines, `text` for people.
        now: the time in seconds since 1970, UTC.
        stream: stderr where none is given.
    """

    def stamp(_: object, __: str, fields: Fields) -> Fields:
        moment = datetime.fromtimestamp(now(), UTC).isoformat(timespec="milliseconds")
        first = {"time": moment.replace("+00:00", "Z"), "level": fields.pop("level"), "service": service}
        return {**first, "event": fields.pop("event"), **fields}

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.format_exc_info,
        _without_payloads,
        stamp,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    renderer: Processor = (
        structlog.processors.JSONRenderer(default=str, ensure_ascii=False)
        if style == "json"
        else structlog.dev.ConsoleRenderer(
            colors=False, timestamp_key="time", exception_formatter=structlog.dev.plain_traceback
        )
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_named, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.captureWarnings(capture=True)


@contextmanager
def silent() -> Iterator[None]:
    """Within this nothing is logged: for a verb that runs services' code itself and tells in its own words.

    >>> with silent():
    ...     get().error("nobody_hears")
    """
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def _named(_: object, __: str, fields: Fields) -> Fields:
    """A library's line says which library spoke."""
    record: logging.LogRecord = fields["_record"]
    return {**fields, "logger": record.name}


def _without_payloads(_: object, __: str, fields: Fields) -> Fields:
    return {name: _safe(name, value) for name, value in fields.items()}


def _safe(name: str, value: object) -> object:
    match value:
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"
        case str() if name in _SECRETIVE:
            return f"<{len(value)} characters>"
        case str() if len(value) > _LONGEST:
            return f"…{value[-_LONGEST:]}"
        case _:
            return value


class Conditions:
    """Says that something lasting has begun, and that it has ended, once each.

    >>> conditions = Conditions()
    >>> with structlog.testing.capture_logs() as lines:
    ...     for _ in range(3):
    ...         conditions.began("broker_unavailable", broker="kafka:9092")
    ...     conditions.ended("broker_unavailable")
    ...     conditions.ended("broker_unavailable")
    >>> [line["event"] for line in lines]
    ['broker_unavailable', 'broker_unavailable_ended']
    """

    def __init__(self, log: FilteringBoundLogger | None = None) -> None:
        self._log = get() if log is None else log
        self._met: dict[str, int] = {}

    def began(self, condition: str, **fields: object) -> None:
        """`condition` holds; the first call since it last ended is a line."""
        self._met[condition] = self._met.get(condition, 0) + 1
        if self._met[condition] == 1:
            self._log.warning(condition, **fields)

    def ended(self, condition: str, **fields: object) -> None:
        """`condition` no longer holds; a line if it was said to hold."""
        times = self._met.pop(condition, 0)
        if times:
            self._log.info(f"{condition}_ended", times=times, **fields)
