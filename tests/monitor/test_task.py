"""The monitor in the generic loop, on the broker in memory."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.monitor.task import MonitorTask
from penstock.runtime.broker import Broker, Message
from penstock.runtime.catalog import Catalog
from tests.monitor.toy import ToyCore, firsts, summary
from tests.scenarios.system import System


def monitor(catalog: Catalog, broker: Broker) -> MonitorTask[Any]:
    return MonitorTask(catalog, broker, ToyCore(catalog, broker))


def fed(*numbers: int | bytes) -> System:
    system = System({"monitor": monitor})
    feed(system, *numbers)
    return system


def feed(system: System, *numbers: int | bytes) -> None:
    for number in numbers:
        for key in ("a", "b"):
            system.broker.append(summary(system.names, 3, key, number))


def totals(system: System) -> dict[str, list[object]]:
    said = firsts(system.broker.records("penstock.evidence"))
    return {key: [each["total"] for each in outputs] for key, outputs in said.items()}


def states(system: System) -> list[bytes]:
    system.broker.compact("penstock.monitor-state")
    return sorted(record.value or b"" for record in system.broker.records("penstock.monitor-state"))


def test_sums_and_states() -> None:
    system = fed(1, 2, 3)
    system.settle()
    assert totals(system) == {"a": [1, 3, 6], "b": [1, 3, 6]}
    assert states(system) == [b"3\n[3,6]", b"3\n[3,6]"]
    outputs = system.broker.records("penstock.evidence")
    assert {record.partition for record in outputs} == {
        summary(system.names, 3, key, 0).partition for key in ("a", "b")
    }


def test_a_batch_writes_each_state_once() -> None:
    system = fed(*range(1, 21))
    system.settle()
    assert len(system.broker.records("penstock.monitor-state")) == 2


def test_the_next_process_goes_on_from_the_states() -> None:
    system = fed(1, 2)
    system.settle()
    system.restart("monitor")
    feed(system, 3)
    system.settle()
    assert totals(system) == {"a": [1, 3, 6], "b": [1, 3, 6]}


def test_what_is_lost_of_the_offsets_is_passed_over() -> None:
    """As after a crash of the other shell, which commits them later than the states."""
    system = fed(1, 2)
    system.settle()
    system.broker.groups.clear()
    system.restart("monitor")
    system.settle()
    assert len(system.broker.records("penstock.evidence")) == 4


def test_of_two_states_of_a_key_the_one_that_is_further_on_is_restored() -> None:
    system = fed(1, 2)
    system.settle()
    late = summary(system.names, 3, "a", 0)._replace(topic="penstock.monitor-state", value=b"1\n[1,1]")
    system.broker.append(late)
    system.restart("monitor")
    feed(system, 3)
    system.settle()
    assert totals(system) == {"a": [1, 3, 6], "b": [1, 3, 6]}


def test_garbage_is_a_dead_letter_and_the_stream_goes_on() -> None:
    system = fed(1, b"garbage", 2)
    system.broker.append(Message("penstock.summaries", b"1", None, (), 0))
    system.settle()
    assert totals(system) == {"a": [1, 3], "b": [1, 3]}
    assert len(system.broker.records("penstock.dead-letters.monitor")) == 3


@pytest.mark.parametrize("module", ["faust", "mode", "aiokafka"])
def test_this_shell_needs_no_faust(module: str) -> None:
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    program = (
        f"import penstock.monitor.task, penstock.monitor.faust, sys; sys.exit({module!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
