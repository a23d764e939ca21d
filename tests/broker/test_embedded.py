"""The embedded Kafka itself: a real one, that keeps its data and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from penstock.broker import BrokerError, EmbeddedKafka, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A broker for this file alone: its tests kill it."""
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka")) as kafka:
        yield kafka


def make_topic(bootstrap: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, num_partitions=1)])[topic].result(10)


def write(bootstrap: str, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    failed: list[KafkaError] = []
    producer.produce(topic, value, on_delivery=lambda error, _: failed.append(error) if error else None)
    assert producer.flush(10) == 0
    assert failed == []


def read(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    messages = consumer.consume(count, timeout=10)
    consumer.close()
    return [message.value() for message in messages]


def test_it_runs_on_this_machine_alone_and_quietly(kafka: EmbeddedKafka) -> None:
    java = psutil.Process(kafka.pid)

    listening = {c.laddr.ip for c in java.net_connections("tcp") if c.status == psutil.CONN_LISTEN}

    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
    assert "java" in java.name()
    assert kafka.log.parent.joinpath("stdout.log").read_text() == ""


def test_data_and_address_survive_kill_9(kafka: EmbeddedKafka) -> None:
    address, before = kafka.bootstrap, kafka.pid
    make_topic(address, "survives")
    write(address, "survives", b"before")

    kafka.kill()
    kafka.start()

    assert kafka.pid != before
    assert kafka.bootstrap == address
    write(address, "survives", b"after")
    assert read(address, "survives", 2) == [b"before", b"after"]


def test_data_and_address_survive_a_restart_and_a_new_preparation(kafka: EmbeddedKafka) -> None:
    address = kafka.bootstrap
    make_topic(address, "restarted")
    write(address, "restarted", b"before")

    assert kafka.stop() == 128 + signal.SIGTERM
    assert not kafka.alive
    with EmbeddedKafka(kafka.log.parent) as again:
        assert again.bootstrap == address
        assert read(address, "restarted", 1) == [b"before"]
    kafka.start()


def test_a_second_kafka_in_the_same_folder_is_refused(kafka: EmbeddedKafka) -> None:
    with pytest.raises(BrokerError, match=r"^another Kafka is running in [^\n]*$"):
        prepare(kafka.log.parent)


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    """A supervisor that is killed cannot clean up: the kernel does."""
    script = "import sys; from penstock.broker import EmbeddedKafka; from pathlib import Path\n"
    script += (
        "kafka = EmbeddedKafka(Path(sys.argv[1])); kafka.start(); print(kafka.pid, flush=True); kafka.wait()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    java = psutil.Process(int(parent.stdout.readline()))

    parent.kill()
    parent.wait(10)
    parent.stdout.close()

    java.wait(20)  # raises when it is still there


def test_the_command_runs_it_until_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "penstock.broker", "--data", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        bootstrap = process.stdout.readline().strip()
        [java] = psutil.Process(process.pid).children()
        make_topic(bootstrap, "any")
        os.kill(process.pid, signal.SIGTERM)
        out, err = process.communicate(timeout=30)

    assert process.returncode == 0
    assert out == ""
    assert err == f"Apache Kafka 4.3.1 on {bootstrap}, data in {tmp_path}; Ctrl-C stops it\n"
    assert not java.is_running()


def test_why_it_did_not_start_is_said(tmp_path: Path) -> None:
    """Whatever keeps it from starting is told in Kafka's own words, in one line."""
    first = EmbeddedKafka(tmp_path)
    with first:
        pass
    checkpoint = tmp_path / "data" / "meta.properties"
    checkpoint.write_text(checkpoint.read_text().replace("node.id=1", "node.id=7"))

    with pytest.raises(
        BrokerError, match=r"^Kafka ended while it was starting: [^\n]*node[^\n]*; see [^\n]*$"
    ):
        EmbeddedKafka(tmp_path).start()
