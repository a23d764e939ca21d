"""What every service knows before its first record, and what it does about what it does not know."""

from __future__ import annotations

import json

import pytest
from structlog.testing import capture_logs

from penstock.contracts.records import FeatureRow, PipelineApplied
from penstock.contracts.schemas import SCHEMAS
from penstock.kernel.pipeline import Pipeline
from penstock.runtime import catalog as module
from penstock.runtime.avro import Schema
from penstock.runtime.broker import Message
from penstock.runtime.catalog import Catalog, apply_messages
from penstock.runtime.codec import Codec
from penstock.runtime.errors import Unavailable
from penstock.runtime.memory import MemoryBroker, MemoryProducer
from tests.scenarios.system import CHURN, System

PIPELINE = Pipeline.read(CHURN)


@pytest.fixture
def system() -> System:
    return System()


def schemas(system: System) -> dict[bytes | None, bytes | None]:
    return {record.key: record.value for record in system.broker.records("penstock.schemas")}


def test_a_service_writes_the_schemas_of_its_build_once(system: System) -> None:
    Catalog(system.broker, system.names)
    written = schemas(system)
    assert written == Codec().texts()
    Catalog(system.broker, system.names).refresh()
    assert len(system.broker.records("penstock.schemas")) == len(written)


def test_the_schema_of_a_row_is_written_by_whoever_writes_rows_with_it(system: System) -> None:
    """An upgraded service need not wait for somebody to apply the pipeline again."""
    catalog = Catalog(system.broker, system.names)
    rows = catalog.codec.rows(FeatureRow, "churn", "00ff", ["age", "plan"])
    catalog.refresh()
    assert schemas(system)[rows.schema.fingerprint] == rows.schema.text.encode()
    count = len(system.broker.records("penstock.schemas"))
    catalog.codec.rows(FeatureRow, "churn", "00ff", ["age", "plan"])
    catalog.refresh()
    assert len(system.broker.records("penstock.schemas")) == count


def test_schemas_that_cannot_be_written_are_not_taken_for_written(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryProducer, "flush", lambda *_: 1)
    with pytest.raises(Unavailable, match="schemas could not be written"):
        Catalog(system.broker, system.names)


def test_a_topic_that_is_not_there_yet_is_waited_for() -> None:
    system = System()
    with pytest.raises(Unavailable, match="no topic"):
        Catalog(MemoryBroker(now=lambda: 0), system.names)


def test_pipelines_come_change_and_go(system: System) -> None:
    catalog = Catalog(system.broker, system.names)
    assert not catalog.refresh()
    system.apply(CHURN)
    assert catalog.refresh()
    assert catalog.pipelines == {"churn": PIPELINE}
    system.apply(CHURN)
    assert not catalog.refresh(), "the same again is no change"
    system.apply({**CHURN, "owner": "somebody@else.example"})
    assert catalog.refresh()
    assert Catalog(system.broker, system.names).pipelines == catalog.pipelines, (
        "whoever comes later knows the same"
    )
    system.broker.append(Message("penstock.pipelines", None, b"churn"))
    assert catalog.refresh()
    assert catalog.pipelines == {}


def test_a_pipeline_that_comes_before_its_schema_is_taken_in_when_that_is_there(system: System) -> None:
    """Two topics have no common order, and the operator's build may be a later one."""
    catalog = Catalog(system.broker, system.names)
    raw = json.loads(SCHEMAS["PipelineApplied"])
    raw["fields"].append({"name": "added_later", "type": "string", "default": ""})
    later = Schema(json.dumps(raw))
    fields = {
        "pipeline": "churn",
        "spec": PIPELINE.canonical().decode(),
        "digest": PIPELINE.digest,
        "applied": 0,
    }
    body = later.header + later.write({**fields, "added_later": "x"})
    system.broker.append(Message("penstock.pipelines", body, b"churn"))
    assert not catalog.refresh()
    assert catalog.pipelines == {}
    system.broker.append(Message("penstock.schemas", later.text.encode(), later.fingerprint))
    assert catalog.refresh()
    assert catalog.pipelines == {"churn": PIPELINE}


@pytest.mark.parametrize("text", [b"\xff\xfe", b"{", b'"strng"', b'{"type": "array", "items": "null"}'])
def test_a_bad_schema_on_the_log_is_said_and_stops_nobody(system: System, text: bytes) -> None:
    system.broker.append(Message("penstock.schemas", text, b"12345678"))
    system.apply(CHURN)
    with capture_logs() as lines:
        catalog = Catalog(system.broker, system.names)
    assert catalog.pipelines == {"churn": PIPELINE}
    assert [line["event"] for line in lines] == ["schema_refused"]


def spec(**change: object) -> str:
    return json.dumps({**CHURN, **change})


def avro(schema: object) -> dict[str, object]:
    return {**dict(PIPELINE.raw()["events"]), "format": {"avro": schema}}  # type: ignore[call-overload] # a mapping


BOMB = {
    "type": "record",
    "name": "Bomb",
    "fields": [
        *({"name": name, "type": kind} for name, kind in (("event_id", "string"), ("at", "long"))),
        {"name": "deep", "type": ["null", "Bomb"]},
    ],
}


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "{}",
        "null",
        "[]",
        '{"pipeline": "churn"}',
        spec(pipeline="other"),
        spec(features={"plan": "category"}),
        spec(events=avro("events.avsc")),
        spec(events=avro({"schema": BOMB})),
    ],
)
def test_a_pipeline_that_is_none_is_said_and_changes_nothing(system: System, spec: str) -> None:
    system.apply(CHURN)
    applied = PipelineApplied(pipeline="churn", spec=spec, digest="", applied=0)
    system.broker.append(Message("penstock.pipelines", system.codec.encode(applied), b"churn"))
    with capture_logs() as lines:
        catalog = Catalog(system.broker, system.names)
    assert catalog.pipelines == {"churn": PIPELINE}
    assert [line["event"] for line in lines] == ["pipeline_refused"]


def test_apply_writes_the_schemas_of_rows_before_the_pipeline(system: System) -> None:
    messages = apply_messages(system.names, PIPELINE, system.codec, partitions=3, now=0)
    assert [message.topic for message in messages] == ["penstock.schemas"] * 3 + ["penstock.pipelines"]
    assert {message.key for message in messages[:3]} == {
        system.codec.rows(kind, "churn", PIPELINE.features_digest, PIPELINE.feature_names).schema.fingerprint  # type: ignore[var-annotated, type-var, unused-ignore] # rows of three kinds
        for kind in module.ROW_KINDS
    }
