"""Traces across services: who appears as whose parent, and who is linked to what caused it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from penstock.runtime.telemetry import from_environment
from tests.runtime.otlp_receiver import http_receiver
from tests.scenarios.system import CHURN, System

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from tests.runtime.otlp_receiver import Received

# The registry finds the candidate in one batch with the decision that asked for it.
BOTH = "process"

# In one service: a batch is the parent of what it sends and commits.
PARENTS = {
    "send penstock.decisions": "process penstock.pipelines",
    "send penstock.governor-journal": "process penstock.pipelines",
    "send penstock.candidates": "process penstock.decisions",
    "send penstock.chunks": "process penstock.decisions",
    "send penstock.models": BOTH,
    "send penstock.routes": BOTH,
    "send penstock.churn.features": "process crm.events",
    "send penstock.churn.labels": "process crm.outcomes",
    "commit crm.events": "process crm.events",
}

# From service to service: a batch is linked to the spans that sent its records.
LINKS = {
    "process penstock.decisions": "send penstock.decisions",
    BOTH: "send penstock.candidates",
    "process penstock.churn.labels": "send penstock.churn.labels",
}


@pytest.fixture(scope="module")
def received() -> Iterator[Received]:
    with http_receiver() as (endpoint, received), pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        telemetry = from_environment("everything")
        patch.setattr("tests.scenarios.system.off", lambda: telemetry)
        system = System()
        system.apply(CHURN)
        system.settle()
        system.produce("crm.events", {"event_id": "a", "at": 0, "age": 41, "plan": "pro"}, b"not json")
        system.settle()
        system.produce("crm.outcomes", {"event_id": "a", "at": 1000, "churned": True})
        system.settle()
        telemetry.close()
        yield received


@pytest.fixture(scope="module")
def spans(received: Received) -> dict[str, list[Span]]:
    found = defaultdict(list)
    for request in received.traces:
        for span in request.resource_spans[0].scope_spans[0].spans:
            found[span.name].append(span)
    return dict(found)


@pytest.mark.parametrize(("child", "parent"), PARENTS.items())
def test_parents(spans: dict[str, list[Span]], child: str, parent: str) -> None:
    parents = {span.span_id: span.trace_id for span in spans[parent]}
    assert any(parents.get(span.parent_span_id) == span.trace_id for span in spans[child])


@pytest.mark.parametrize(("batch", "creator"), LINKS.items())
def test_links(spans: dict[str, list[Span]], batch: str, creator: str) -> None:
    creators = {(span.trace_id, span.span_id) for span in spans[creator]}
    linked = {(link.trace_id, link.span_id) for span in spans[batch] for link in span.links}
    assert linked & creators


def test_every_batch_was_polled_and_committed(spans: dict[str, list[Span]]) -> None:
    topics = {name.removeprefix("process ") for name in spans if name.startswith("process ")}
    assert topics
    for topic in topics:
        assert f"poll {topic}" in spans
        assert f"commit {topic}" in spans


def test_a_dead_letter_is_counted_by_its_reason(received: Received) -> None:
    points = received.points("penstock.dead_letters")
    assert {
        (dict(key)["messaging.destination.name"], dict(key)["error.type"]): n for key, n in points.items()
    } == {("crm.events", "undecodable"): 1}


def test_what_was_consumed_is_counted_by_topic_and_group(received: Received) -> None:
    points = received.points("messaging.client.consumed.messages")
    counted = {
        (dict(key)["messaging.destination.name"], dict(key)["messaging.consumer.group.name"]): n
        for key, n in points.items()
    }
    assert counted["crm.events", "penstock.intake"] == 2
    assert counted["penstock.decisions", "penstock.trainer"] == 1
    assert counted["penstock.churn.labels", "penstock.join"] == 1
