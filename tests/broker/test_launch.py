"""Getting Kafka ready in a folder: what can be wrong is said in one line, before anything is downloaded."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from penstock.broker import BrokerError, prepare, wait_ready
from penstock.broker.__main__ import main
from penstock.broker.config import log4j2_properties, server_properties
from penstock.broker.launch import format_storage, last_error
from penstock.broker.ports import HIGHEST, LOWEST, free_port, is_free, require_free

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def taken() -> Iterator[int]:
    """A port somebody listens on."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        yield port


@pytest.fixture(autouse=True)
def _nothing_cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A download would fail these tests: everything wrong must be found before it."""
    (tmp_path / "no-cache").write_text("")
    monkeypatch.setenv("PENSTOCK_CACHE", str(tmp_path / "no-cache"))


def test_a_port_that_is_taken_is_one_line(tmp_path: Path, taken: int) -> None:
    with pytest.raises(
        BrokerError, match=rf"^port {taken} on 127\.0\.0\.1 is taken: choose another, [^\n]*$"
    ):
        prepare(tmp_path / "kafka", port=taken)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(BrokerError, match=r"^data folder [^\n]*/file/kafka cannot be written: [^\n]*$"):
        prepare(tmp_path / "file" / "kafka")


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_a_number_that_is_no_port_is_one_line(port: int) -> None:
    with pytest.raises(BrokerError, match=f"^{port} is not a port"):
        require_free(port)


def ports(folder: Path, port: int | None = None) -> dict[str, int]:
    """The ports chosen by `prepare`, which then stops for want of a cache."""
    with pytest.raises(BrokerError, match="cache folder"):
        prepare(folder, port=port)
    chosen: dict[str, int] = json.loads((folder / "ports.json").read_text())
    return chosen


def test_ports_are_free_apart_and_remembered(tmp_path: Path) -> None:
    first = ports(tmp_path)

    assert first["port"] != first["controller"]
    assert is_free(first["port"])
    assert ports(tmp_path) == first


def test_the_port_asked_for_is_the_one_remembered(tmp_path: Path) -> None:
    wanted = free_port()

    ports(tmp_path, port=wanted)

    assert ports(tmp_path)["port"] == wanted


def test_a_remembered_port_that_is_taken_meanwhile_is_replaced(tmp_path: Path, taken: int) -> None:
    (tmp_path / "ports.json").write_text(json.dumps({"port": taken, "controller": taken}))

    assert taken not in ports(tmp_path).values()


def test_a_memory_that_is_not_whole_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text('{"port": 2')

    assert LOWEST <= ports(tmp_path)["port"] < HIGHEST


def test_ports_stay_out_of_the_range_of_outgoing_connections() -> None:
    """Else a client that keeps dialling a dead broker can be given the broker's own port, and hold it."""
    if sys.platform == "linux":
        lowest, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        assert int(lowest) >= HIGHEST


def test_kafka_listens_on_this_machine_alone_and_forgets_no_group(tmp_path: Path) -> None:
    text = server_properties(data=tmp_path, port=20_001, controller=20_002)
    settings = dict(line.split("=", 1) for line in text.splitlines())

    addresses = settings["listeners"].split(",") + settings["advertised.listeners"].split(",")
    assert {address.split("://")[1].split(":")[0] for address in addresses} == {"127.0.0.1"}
    assert settings["offsets.retention.minutes"] == str(2**31 - 1)
    assert settings["auto.create.topics.enable"] == "false"


def test_the_last_error_of_the_log_is_the_reason_given(tmp_path: Path) -> None:
    log = tmp_path / "kafka.log"
    assert last_error(log) == ""
    log.write_text("t WARN A: careful\nt ERROR B: no\nt ERROR C: exiting: now\n")

    assert last_error(log) == "exiting: now"
    with log.open("a") as file:
        file.write("a.RuntimeException: outer\n\tat kafka.Kafka\nCaused by: a.IOException: disk full\n")
    assert last_error(log) == "disk full"
    assert str(log) in log4j2_properties(log)


NO_JVM = """Error occurred during initialization of VM
java.lang.OutOfMemoryError: unable to create native thread
\tat java.lang.System.initPhase1(java.base/System.java:2214)
"""
REFUSED = """WARNING: a restricted method was called
Exception in thread "main" a.KafkaException: no room
\tat kafka.tools.StorageTool.main(StorageTool.scala)
Caused by: java.io.IOException: none at all
\t... 1 more
"""


class Java:
    """In Java's place: says one of these things at each start and fails, until all are said."""

    def __init__(self, folder: Path, *sayings: str) -> None:
        self.starts = folder / "starts"
        self.starts.write_text("")
        program = folder / "java.py"
        program.write_text(
            "import sys\nfrom pathlib import Path\n"
            f"starts, sayings = Path({str(self.starts)!r}), {list(sayings)!r}\n"
            "number = len(starts.read_text())\nstarts.write_text('.' * (number + 1))\n"
            "if number < len(sayings):\n    sys.stderr.write(sayings[number])\n    sys.exit(1)\n"
        )
        self.command = (sys.executable, str(program))

    @property
    def started(self) -> int:
        return len(self.starts.read_text())


def test_what_the_storage_tool_says_first_is_the_reason_given(tmp_path: Path) -> None:
    java = Java(tmp_path, REFUSED)
    with pytest.raises(BrokerError) as raised:
        format_storage(java.command, tmp_path / "server.properties", {})
    assert str(raised.value) == f"Kafka could not format {tmp_path}: a.KafkaException: no room"
    assert java.started == 1


def test_a_java_that_does_not_start_is_started_once_more(tmp_path: Path) -> None:
    java = Java(tmp_path, NO_JVM)
    format_storage(java.command, tmp_path / "server.properties", {})
    assert java.started == 2


def test_a_java_that_never_starts_is_one_line(tmp_path: Path) -> None:
    java = Java(tmp_path, NO_JVM, NO_JVM)
    with pytest.raises(BrokerError) as raised:
        format_storage(java.command, tmp_path / "server.properties", {})
    assert str(raised.value) == (
        f"Kafka could not format {tmp_path}: Error occurred during initialization of VM: "
        "java.lang.OutOfMemoryError: unable to create native thread"
    )
    assert java.started == 2


def test_a_tool_that_says_nothing_leaves_its_exit_code(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"exit code 1$"):
        format_storage(Java(tmp_path, "").command, tmp_path / "server.properties", {})


def test_waiting_for_a_dead_process_ends_at_once() -> None:
    with pytest.raises(BrokerError, match="Kafka ended while it was starting"):
        wait_ready(f"127.0.0.1:{free_port()}", 60.0, lambda: False)


def test_waiting_ends_in_time_and_a_foreign_server_is_not_taken_for_kafka() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        with pytest.raises(BrokerError, match=f"Kafka did not answer at 127.0.0.1:{port} within 0 s"):
            wait_ready(f"127.0.0.1:{port}", 0.1, lambda: True)


def test_the_command_says_what_is_wrong_in_one_line(
    tmp_path: Path, taken: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(tmp_path), "--port", str(taken)]) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"port {taken} on 127.0.0.1 is taken")
    assert err.count("\n") == 1
