"""Log lines: one JSON object each, whoever speaks, and never a payload."""

from __future__ import annotations

import io
import json
import logging
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from penstock.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Iterator

NEW_YEAR = 1357016400.25  # 2013-01-01T05:00:00.250Z


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    logs.configure("ingest", now=lambda: NEW_YEAR, stream=written)
    yield written
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_our_own_line(stream: io.StringIO) -> None:
    logs.get(loop="join").info("started", partitions=4)
    assert lines(stream) == [
        {
            "time": "2013-01-01T05:00:00.250Z",
            "level": "info",
            "service": "ingest",
            "event": "started",
            "loop": "join",
            "partitions": 4,
        }
    ]
    assert list(lines(stream)[0])[:4] == ["time", "level", "service", "event"], "the eye finds these first"


def test_a_library_speaks_in_the_same_form(stream: io.StringIO) -> None:
    logging.getLogger("penstock.kafka").warning("%s brokers are down", 1)
    (line,) = lines(stream)
    assert line["event"] == "1 brokers are down"
    assert (line["level"], line["logger"], line["service"]) == ("warning", "penstock.kafka", "ingest")


def test_debug_lines_and_payloads_stay_out(stream: io.StringIO) -> None:
    logs.get().debug("noise")
    logging.getLogger("urllib3").debug("noise")
    logs.get().warning("odd", record=b"\x00\x01\x02", value="secret row", text="x" * 5000)
    (line,) = lines(stream)
    assert line["record"] == "<3 bytes>"
    assert line["value"] == "<10 characters>"
    assert len(line["text"]) == 2001


def test_an_exception_is_one_line_with_its_traceback(stream: io.StringIO) -> None:
    try:
        int("schema")
    except ValueError:
        logs.get().exception("crashed")
    (line,) = lines(stream)
    assert line["level"] == "error"
    assert line["exception"].endswith("invalid literal for int() with base 10: 'schema'")


def test_a_warning_of_python_is_a_log_line(stream: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)  # catch_warnings put the plain printer back
        warnings.warn("this is old", DeprecationWarning, stacklevel=1)
    assert "this is old" in lines(stream)[0]["event"]


def test_text_for_people() -> None:
    written = io.StringIO()
    handlers = logging.getLogger().handlers[:]
    try:
        logs.configure("ingest", style="text", now=lambda: NEW_YEAR, stream=written)
        logs.get().info("started", slot="0")
        try:
            int("schema")
        except ValueError:
            logs.get().exception("crashed")
    finally:
        logging.captureWarnings(capture=False)
        logging.getLogger().handlers[:] = handlers
        structlog.reset_defaults()
    assert written.getvalue().startswith("2013-01-01T05:00:00.250Z [info")
    assert "started" in written.getvalue()
    assert "slot=0" in written.getvalue()
    assert "ValueError: invalid literal for int() with base 10: 'schema'" in written.getvalue()


def test_a_condition_is_said_when_it_begins_and_when_it_ends(stream: io.StringIO) -> None:
    conditions = logs.Conditions()
    for _ in range(2):
        for _ in range(3):
            conditions.began("broker_unavailable", broker="kafka:9092")
        conditions.began("schema_missing")
        conditions.ended("broker_unavailable")
    said = [(line["level"], line["event"], line.get("times")) for line in lines(stream)]
    assert said == [
        ("warning", "broker_unavailable", None),
        ("warning", "schema_missing", None),
        ("info", "broker_unavailable_ended", 3),
        ("warning", "broker_unavailable", None),
        ("info", "broker_unavailable_ended", 3),
    ]
