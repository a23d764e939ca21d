"""`status`: what runs, and how far it is behind."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from penstock.cli import lag, main, status
from penstock.cli.apply import apply
from penstock.cli.exits import Exit
from penstock.cli.groups import groups
from penstock.cli.process import Process
from penstock.cli.state import Running, State, write_state
from penstock.contracts.records import Refusal, ReplicaReported
from penstock.governor.task import GovernorTask
from penstock.ingest.service import TASKS
from penstock.kernel.pipeline import Pipeline
from penstock.monitor.core import MonitorCore
from penstock.monitor.task import MonitorTask
from penstock.registry.task import RegistryTask
from penstock.runtime.broker import Message, Position, TopicPartition
from penstock.runtime.catalog import Catalog, Names
from penstock.runtime.memory import MemoryBroker
from penstock.trainer.inline import Inline
from penstock.trainer.task import TrainerTask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from penstock.runtime.settings import Settings

NAMES = Names("penstock.")
CHURN = Pipeline.read(
    {
        "pipeline": "churn",
        "task": "binary",
        "events": {"topic": "crm.events", "id": "id", "time": "at"},
        "labels": {"topic": "crm.ends", "id": "id", "time": "at", "value": "churned", "horizon": "30d"},
        "features": {"age": "number"},
    }
)
GONE = Process(pid=2**22 - 1, started=1)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
    memory = MemoryBroker(now=lambda: 0)
    apply(CHURN, memory, NAMES)

    @contextmanager
    def connected(_settings: Settings) -> Iterator[MemoryBroker]:
        yield memory

    monkeypatch.setattr(status, "connected", connected)
    monkeypatch.setattr(status, "reach", lambda address: address)
    return memory


def up(folder: Path, *, ingest: Process | None) -> None:
    write_state(
        folder,
        State(
            supervisor=Process.of(os.getpid()),
            bootstrap="127.0.0.1:1",
            grpc="127.0.0.1:2",
            processes={"ingest": Running(process=ingest, restarts=2)},
        ),
    )


def test_the_groups_read_what_the_services_say_they_read(broker: MemoryBroker) -> None:
    catalog = Catalog(broker, NAMES)
    tasks = [
        *(make(catalog, broker) for make in TASKS.values()),
        MonitorTask(catalog, broker, MonitorCore(catalog, broker)),
        GovernorTask(catalog, broker),
        TrainerTask(catalog, broker, Inline()),
        RegistryTask(catalog, broker),
    ]
    for task in tasks:
        task.refresh()
    listed = {group.name: set(group.topics) for group in groups(NAMES, [CHURN])}
    listed.pop(NAMES.of("inference"))  # its task needs a shelf of models: its own tests say what it reads
    assert listed == {NAMES.of(task.name): set(task.topics()) for task in tasks}


def test_everything_running_is_healthy(
    broker: MemoryBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert broker.topics()
    up(tmp_path, ingest=Process.of(os.getpid()))
    assert main(["status", "--data", str(tmp_path), "-o", "json"]) == Exit.OK
    shown = json.loads(capsys.readouterr().out)
    assert shown["healthy"] is True
    assert [(row["process"], row["state"], row["restarts"]) for row in shown["processes"]] == [
        ("up", "running", 0),
        ("ingest", "running", 2),
    ]
    behind = {(row["group"], row["topic"]): row["lag"] for row in shown["lag"]}
    assert behind["penstock.governor", "penstock.pipelines"] == 1
    assert behind["penstock.intake", "crm.events"] == 0


def test_what_each_replica_serves_is_shown(
    broker: MemoryBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = Catalog(broker, NAMES)

    def say(slot: str, report: ReplicaReported | None) -> None:
        value = None if report is None else catalog.codec.encode(report)
        broker.append(Message(NAMES.of("replicas"), value, f"{slot}/churn".encode(), (), 0))

    refused = (Refusal(version=2, reason="golden vector 0 scores [0.5], expected [0.9]"),)
    for slot, epoch, loaded, without in (("1", 2, (0, 1), ()), ("0", 1, (0,), refused), ("2", 1, (0,), ())):
        say(slot, ReplicaReported(pipeline="churn", slot=slot, epoch=epoch, loaded=loaded, refused=without))
    say("2", None)  # it has ended
    up(tmp_path, ingest=Process.of(os.getpid()))
    assert main(["status", "--data", str(tmp_path), "-o", "json"]) == Exit.OK
    first, second = json.loads(capsys.readouterr().out)["replicas"]
    assert (first["replica"], first["epoch"], first["loaded"]) == ("0", 1, [0])
    assert first["refused"] == {"2": "golden vector 0 scores [0.5], expected [0.9]"}
    assert (second["replica"], second["epoch"], second["loaded"]) == ("1", 2, [0, 1])
    assert main(["status", "--data", str(tmp_path)]) == Exit.OK
    shown = capsys.readouterr().out
    assert "2: golden vector 0 scores [0.5], expected [0.9]" in shown
    assert "0, 1" in shown


def test_markers_are_no_lag_and_records_between_them_are(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag, "WINDOW", 2)
    where = TopicPartition("crm.events", 1)
    transactions = broker.transactional("t")

    def commit(value: bytes) -> None:
        transactions.begin()
        transactions.send([Message(where.topic, value, partition=where.partition)])
        transactions.commit()

    def shown() -> object:
        [row] = [row for row in status.lag(broker, NAMES) if row["topic"] == "crm.events"]
        return row["lag"]

    def reads(offset: int) -> None:
        consumer = broker.consumer(group="penstock.intake", slot="0")
        transactions.begin()
        transactions.send_offsets(consumer, {where: Position(offset)})
        transactions.commit()
        consumer.close()

    for value in (b"a", b"b", b"c"):
        commit(value)
    assert broker.ends([where]) == {where: (0, 6)}
    assert shown() == 6
    reads(3)
    assert shown() == 2  # c and its marker
    reads(5)
    assert shown() == 0  # a marker alone
    for _ in range(4):  # markers of what was aborted
        transactions.begin()
        transactions.send([Message(where.topic, b"no", partition=where.partition)])
        transactions.abort()
    assert broker.ends([where])[where][1] > 6 + lag.WINDOW
    assert shown() == 0
    commit(b"d")
    assert shown() == 2


@pytest.mark.parametrize("ingest", [None, GONE])
def test_a_process_that_is_down_is_unhealthy(
    ingest: Process | None, broker: MemoryBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert broker.topics()
    up(tmp_path, ingest=ingest)
    assert main(["status", "--data", str(tmp_path)]) == Exit.FAILED
    assert "down" in capsys.readouterr().out


def test_a_broker_that_is_away_is_unhealthy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    up(tmp_path, ingest=Process.of(os.getpid()))
    assert main(["status", "--data", str(tmp_path)]) == Exit.FAILED
    said = capsys.readouterr()
    assert said.err.startswith("no broker answers at 127.0.0.1:1 ")
    assert said.err.count("\n") == 1
    assert "ingest" in said.out


def test_nothing_at_all_is_unhealthy_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--data", str(tmp_path), "--broker", "127.0.0.1:1"]) == Exit.FAILED
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("nothing is running here: no broker answers at 127.0.0.1:1")
