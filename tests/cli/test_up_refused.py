"""`up` that cannot begin: one line, and nothing is left behind."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from penstock.broker.ports import HOST, free_port
from penstock.cli import main
from penstock.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def taken() -> Iterator[str]:
    """A port somebody listens on."""
    port = free_port()
    with socket.create_server((HOST, port)):
        yield str(port)


@pytest.mark.parametrize("option", ["--port", "--grpc-port"])
@pytest.mark.parametrize("number", ["99999", "0", "-1", "many"])
def test_a_number_that_is_no_port_is_wrong_usage(
    option: str, number: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    assert main(["up", "--data", str(folder), option, number]) == Exit.USAGE
    assert f"{number!r} is not a number from 1 to 65535" in capsys.readouterr().err
    assert not folder.exists()


@pytest.mark.parametrize("option", ["--port", "--grpc-port"])
def test_a_port_that_is_taken_leaves_no_folder(
    option: str, taken: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    ports = {"--port": str(free_port()), "--grpc-port": str(free_port()), option: taken}
    words = [word for pair in ports.items() for word in pair]
    assert main(["up", "--data", str(folder), *words]) == Exit.CONFLICT
    assert capsys.readouterr().err == f"port {taken} on {HOST} is taken: choose another one with {option}\n"
    assert not folder.exists()


def test_a_folder_that_was_there_stays(tmp_path: Path, taken: str) -> None:
    assert main(["up", "--data", str(tmp_path), "--port", taken]) == Exit.CONFLICT
    assert tmp_path.exists()


def test_a_broker_that_is_away_leaves_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data"
    words = ["--broker", f"{HOST}:1", "--grpc-port", str(free_port())]
    assert main(["up", "--data", str(folder), *words]) == Exit.UNREACHABLE
    assert "no broker answers" in capsys.readouterr().err
    assert not folder.exists()
