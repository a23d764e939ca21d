"""A pipeline by hand: up, apply, produce, predict, look, kill, up again, down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from penstock.broker.ports import free_port
from penstock.cli.process import Process
from penstock.cli.state import read_state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 60.0
SPEC = """
pipeline: churn
task: binary
events: {topic: crm.events, format: json, id: event_id, time: at}
labels: {topic: crm.outcomes, format: json, id: event_id, time: at, value: churned, horizon: 30d}
features:
  age: number
  plan: {category: [free, plus, pro]}
"""


class Terminal:
    """Somebody at a terminal in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.up: subprocess.Popen[str] | None = None

    def types(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "penstock", *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def gets(self, *words: str) -> Any:
        ended = self.types(*words, "-o", "json")
        assert ended.returncode == 0, (words, ended.stdout, ended.stderr)
        return json.loads(ended.stdout)

    def starts(self, *words: str) -> list[str]:
        """`penstock up`, and what it says until it is up."""
        self.leaves()
        log = (self.folder / "up.log").open("w")
        self.up = subprocess.Popen(
            [sys.executable, "-m", "penstock", "up", *words],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        log.close()
        assert self.up.stdout is not None
        said: list[str] = []
        for line in self.up.stdout:
            said.append(line)
            if "Stop:" in line:
                return said
        raise AssertionError((self.folder / "up.log").read_text())

    def leaves(self) -> None:
        """Kill what `starts` started, if it still runs."""
        if self.up is not None:
            self.up.kill()
            self.up.wait(PATIENCE)
            if self.up.stdout:
                self.up.stdout.close()

    def processes(self) -> list[Process]:
        state = read_state(self.folder / ".penstock")
        assert state is not None
        return [it.process for it in state.processes.values() if it.process is not None]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.leaves()


@pytest.mark.e2e
@pytest.mark.timeout(280)
def test_a_pipeline_by_hand(terminal: Terminal) -> None:
    kafka, grpc = free_port(), free_port()
    ports = ("--port", str(kafka), "--grpc-port", str(grpc))
    banner = terminal.starts(*ports)
    assert len(banner) <= 12
    text = "".join(banner)
    assert f"127.0.0.1:{kafka}" in text
    assert f"127.0.0.1:{grpc}" in text
    assert "Persistence:" in text

    # One folder has one `up`, and a taken port is one line.
    again = terminal.types("up", *ports)
    assert (again.returncode, again.stderr.count("already running in")) == (5, 1)
    taken = terminal.types("up", "--data", "elsewhere", *ports)
    assert taken.returncode == 5
    assert "is taken" in taken.stderr.splitlines()[-1]

    (terminal.folder / "churn.yaml").write_text(SPEC)
    (terminal.folder / "events.jsonl").write_text(
        "".join(
            json.dumps({"event_id": f"e{n}", "at": "2024-05-01T12:00:00Z", "age": 20 + n, "plan": "pro"})
            + "\n"
            for n in range(50)
        )
        + '{"age": 1}\n'
    )
    assert terminal.gets("apply", "churn.yaml")["new"] is True
    assert terminal.gets("produce", "events.jsonl", "--topic", "crm.events")["records"] == 51

    # Version 0 answers as soon as the governor, the trainer and the registry have done their part.
    answer = None
    for _ in range(40):
        asked = terminal.types("predict", "churn", "age=41", "plan=pro", "--id", "mine", "-o", "json")
        if asked.returncode == 0:
            answer = json.loads(asked.stdout)[0]
            break
        assert asked.returncode == 6, asked.stderr  # UNAVAILABLE, with its reason
    assert answer is not None
    assert (answer["id"], answer["version"], answer["role"]) == ("mine", 0, "champion")
    assert [row["stage"] for row in terminal.gets("model", "list", "churn")] == ["champion"]
    assert terminal.gets("model", "show", "churn")["lane"] == "baseline"
    assert terminal.types("predict", "churn", "age=old").returncode == 3
    assert terminal.types("predict", "other", "age=1").returncode == 4

    letters = terminal.types("tail", "churn.dead-letters.ingest", "-o", "json")
    assert json.loads(letters.stdout)["dead_letter"]["reason"] == "missing_id"
    assert terminal.types("status").returncode == 0

    # Killed, it leaves nothing running; started again, it has forgotten nothing.
    before = terminal.processes()
    assert terminal.up is not None
    os.kill(terminal.up.pid, signal.SIGKILL)
    terminal.up.wait(PATIENCE)
    assert all(process.wait(PATIENCE) for process in before)
    assert terminal.types("status").returncode == 1
    terminal.starts(*ports)
    assert [row["version"] for row in terminal.gets("model", "list", "churn")] == [0]
    assert terminal.gets("apply", "churn.yaml")["changed"] is False

    before = terminal.processes()
    assert terminal.types("down").returncode == 0
    assert terminal.up.wait(PATIENCE) == 0
    assert not any(process.alive() for process in before)
    assert terminal.types("status", "--broker", f"127.0.0.1:{kafka}").returncode == 1


@pytest.mark.e2e
def test_a_folder_that_cannot_be_written_is_one_line(terminal: Terminal) -> None:
    (terminal.folder / "file").write_text("")
    ended = terminal.types("up", "--data", "file/below")
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "cannot be made" in ended.stderr
