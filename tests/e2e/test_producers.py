"""The example producers, each against the real Kafka: intake takes every record that they send."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from penstock.broker.jars import cache_folder, locked_jars
from penstock.cli.apply import apply
from penstock.ingest.intake import IntakeTask
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.broker import Record, TopicPartition
from penstock.runtime.catalog import Catalog, Names
from penstock.runtime.fold import read_range, read_written
from penstock.runtime.kafka import KafkaBroker
from penstock.runtime.loop import Loop
from penstock.runtime.telemetry import off

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXAMPLES = Path(__file__).parents[2] / "examples" / "producers"
COUNT = 100
PATIENCE = 60.0


def typed(command: Sequence[str | Path], folder: Path, **environment: str) -> str:
    """What a command printed; it has to end well."""
    ended = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed here")
    return found


def python(_scratch: Path) -> list[str | Path]:
    return [sys.executable, EXAMPLES / "python" / "churn_producer.py"]


def java(scratch: Path) -> list[str | Path]:
    """Compiled against the jars of the embedded broker; the tests' Kafka has put them into the cache."""
    compiler, machine = tool("javac"), tool("java")
    folder = cache_folder() / "jars"
    jars = [folder / jar.filename for jar in locked_jars()]
    if missing := [jar.name for jar in jars if not jar.exists()]:
        pytest.skip(f"{missing[0]} is not in the cache: the broker is another one")
    path = os.pathsep.join(map(str, jars))
    typed(
        [
            compiler,
            "-Werror",
            "-Xlint:all,-path,-classfile",
            "-cp",
            path,
            "-d",
            scratch,
            "ChurnProducer.java",
        ],
        EXAMPLES / "java",
    )
    return [machine, "-cp", f"{scratch}{os.pathsep}{path}", "ChurnProducer"]


def go(scratch: Path) -> list[str | Path]:
    compiler, folder = tool("go"), EXAMPLES / "go"
    environment = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
    fetched = subprocess.run(
        [compiler, "mod", "download"],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if fetched.returncode != 0:
        pytest.skip(f"the Go modules cannot be had here: {fetched.stderr.strip().splitlines()[-1]}")
    program = scratch / "churn"
    typed([compiler, "vet", "."], folder, **environment)
    typed([compiler, "build", "-o", program, "."], folder, **environment)
    return [program]


@pytest.mark.timeout(600)  # a compiler's first time
@pytest.mark.parametrize("made", [python, java, go], ids=["python", "java", "go"])
def test_all_that_a_producer_sends_is_taken_in(
    made: Callable[[Path], list[str | Path]], kafka: str, prefix: str, tmp_path: Path
) -> None:
    command = made(tmp_path)
    broker, names = KafkaBroker(kafka), Names(prefix)
    events, labels = f"{prefix}events", f"{prefix}outcomes"
    apply(Pipeline.read(spec(events, labels)), broker, names)

    said = typed([*command, kafka, events, labels], tmp_path)
    assert said == f"{COUNT} events and {COUNT} labels sent\n"

    catalog = Catalog(broker, names)
    loop = Loop(IntakeTask(catalog), broker, service="ingest", prefix=prefix, slot="0", telemetry=off())
    until = time.monotonic() + PATIENCE
    while count(broker, names.of("labels", "churn")) < COUNT and time.monotonic() < until:
        loop.step()
    loop.close()
    catalog.close()
    topics = ["features", "labels", "dead-letters.ingest"]
    assert [count(broker, names.of(topic, "churn")) for topic in topics] == [COUNT, COUNT, 0]
    for topic in (events, labels):
        sent = records(broker, topic)
        ids = [(re.findall(rb'"event_id": ?"([^"]+)"', each.value or b"")[0], each.key) for each in sent]
        assert all(name == key for name, key in ids)
        assert len(set(ids)) == COUNT
    # An id's records are on one partition number of each topic: murmur2, as in our own topics.
    ours = {each.key: each.partition for each in records(broker, names.of("features", "churn"))}
    assert {each.key: each.partition for each in records(broker, events)} == ours
    broker.close()


def spec(events: str, labels: str) -> dict[str, object]:
    """The pipeline of the README, on topics of the test's own."""
    return {
        "pipeline": "churn",
        "task": "binary",
        "events": {"topic": events, "id": "event_id", "time": "at"},
        "labels": {"topic": labels, "id": "event_id", "time": "at", "value": "churned", "horizon": "30d"},
        "features": {
            "age": "number",
            "visits": {"number": {"min": 0, "required": True}},
            "plan": {"category": {"values": ["free", "plus", "pro"], "required": True}},
            "weekday": {"weekday": "at"},
        },
    }


def records(broker: KafkaBroker, topic: str) -> list[Record]:
    partitions = [TopicPartition(topic, number) for number in range(broker.topics()[topic])]
    return [each for batch in read_written(broker, partitions) for each in batch]


def count(broker: KafkaBroker, topic: str) -> int:
    partitions = [TopicPartition(topic, number) for number in range(broker.topics()[topic])]
    return sum(len(batch) for batch in read_range(broker, broker.ends(partitions)))
