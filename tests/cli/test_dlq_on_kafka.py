"""A retry on the real Kafka: the record and its mark in one transaction, a letter without its record too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from penstock.cli import main
from penstock.cli.exits import Exit
from penstock.kernel.errors import Invalid
from penstock.runtime.broker import Broker, Message, Record, Topic, TopicPartition
from penstock.runtime.catalog import Catalog, Names
from penstock.runtime.deadletter import Refused, letter
from penstock.runtime.fold import read_written
from penstock.runtime.kafka import KafkaBroker
from penstock.runtime.topics import topics

if TYPE_CHECKING:
    import pytest


def records(broker: Broker, topic: str) -> list[Record]:
    where = TopicPartition(topic, 0)
    return [record for batch in read_written(broker, [where]) for record in batch]


def test_records_go_back_once_and_are_marked(
    kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PENSTOCK_BROKER", kafka)
    monkeypatch.setenv("PENSTOCK_PREFIX", prefix)
    broker = KafkaBroker(kafka)
    source = f"{prefix}raw"
    made = [*topics(prefix), *topics(prefix, pipeline="churn", horizon=0)]
    broker.create([*made, Topic(name=source, partitions=1, config={"max.message.bytes": "2000000"})])
    catalog = Catalog(broker, Names(prefix))
    catalog.close()
    producer = broker.producer()
    assert producer.send(Message(source, b"{small", b"k", (("tenant", b"north"),)))
    assert producer.send(Message(source, b"x" * 950_000))
    assert producer.flush(30) == 0
    for record in records(broker, source):
        refused = Refused(record, Invalid("it is bad", reason="bad"))
        held = f"{prefix}churn.dead-letters.ingest"
        assert producer.send(letter(refused, service="ingest", topic=held, codec=catalog.codec))
    assert producer.flush(30) == 0
    producer.close()

    assert main(["dlq", "retry", "churn", "--reason", "bad", "--yes", "-o", "json"]) == Exit.OK
    said = json.loads(capsys.readouterr().out)
    assert sorted(each["bytes"] for each in said["sent"]) == [6, 950_000]
    assert said["left"] == []
    sent = [(each.key, each.value, each.headers) for each in records(broker, source)]
    retried = (("penstock.retries", b"1"),)
    assert sorted(sent[2:], key=lambda each: len(each[1] or b"")) == [
        (key, value, headers + retried) for key, value, headers in sent[:2]
    ]
    assert main(["dlq", "retry", "churn", "--yes"]) == Exit.OK
    assert "no dead letters but 2 retried" in capsys.readouterr().err
    assert len(records(broker, source)) == 4
    broker.close()
