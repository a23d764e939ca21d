"""An outage is not a hundred thousand lines."""

from __future__ import annotations

import io
import json
import logging

from penstock.monitor.faust.quiet import Pauses
from penstock.runtime import logs


def test_ever_fewer_lines_of_each_logger_and_level_and_ours_are_all_there() -> None:
    clock = [0.0]
    stream = io.StringIO()
    before = logging.getLogger().handlers[:]
    try:
        logs.configure("monitor", stream=stream)
        for handler in logging.getLogger().handlers:
            handler.addFilter(Pauses(now=lambda: clock[0]))
        for tenth in [*range(45), 200]:
            clock[0] = tenth / 10
            logging.getLogger("aiokafka.conn").warning("connection %d refused", tenth)
            logging.getLogger("aiokafka.conn").error("gone")
            logging.getLogger("mode.services").warning("waiting")
            logs.get().warning("ours")
    finally:
        logging.getLogger().handlers[:] = before
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    said = [line["event"] for line in lines]
    assert said.count("ours") == 46
    assert [each for each in said if each.startswith("connection")] == [
        "connection 0 refused",
        "connection 10 refused (9 lines left out)",
        "connection 30 refused (19 lines left out)",
        "connection 200 refused (14 lines left out)",
    ]
    assert len([each for each in said if each.startswith(("gone", "waiting"))]) == 8
