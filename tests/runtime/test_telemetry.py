"""Telemetry: free when off, the conventions' names when on, and never in the way."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
import structlog.testing
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from penstock.runtime import names
from penstock.runtime.broker import Message, Record
from penstock.runtime.telemetry import Telemetry, from_environment, off
from tests.runtime.otlp_receiver import Received, grpc_receiver, http_receiver, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FEATURES, PREDICTIONS, LABELS = (f"penstock.flights.{what}" for what in ("features", "predictions", "labels"))
GROUP = "penstock.inference"


def record(topic: str = FEATURES, traceparent: str = "") -> Record:
    headers = (("traceparent", traceparent.encode()),) if traceparent else ()
    return Record(topic, 0, 0, 0, b"key", b"value", (("ce_id", b"1"), *headers))


def creator(number: int) -> str:
    return f"00-{number:032x}-{number:016x}-01"


def names_span(header: tuple[str, bytes], span: Span) -> bool:
    return header[0] == "traceparent" and header[1].startswith(
        f"00-{span.trace_id.hex()}-{span.span_id.hex()}-".encode()
    )


@pytest.fixture(autouse=True)
def no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for signal in ("", "TRACES_", "METRICS_"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT", raising=False)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    with http_receiver() as (endpoint, received):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        yield received


def one_batch(telemetry: Telemetry, records: list[Record], messages: list[Message]) -> list[Message]:
    """What the loop says of one batch."""
    telemetry.polled(records, 0.02, group=GROUP)
    with telemetry.processing(records, group=GROUP):
        with telemetry.sending(messages) as traced:
            sent = list(traced)
        with telemetry.committing(records, group=GROUP):
            pass
    return sent


class TestOff:
    def test_nothing_is_sent_and_the_sdk_is_not_imported(self) -> None:
        program = (
            "import sys\n"
            "from penstock.runtime.telemetry import from_environment\n"
            "telemetry = from_environment('ingest')\n"
            "assert not telemetry.on\n"
            "loaded = {name.split('.')[0] for name in sys.modules}\n"
            "assert not loaded & {'opentelemetry', 'grpc', 'requests'}, loaded\n"
        )
        subprocess.run([sys.executable, "-c", program], check=True, env={})

    def test_messages_pass_as_they_are(self) -> None:
        messages = [Message(PREDICTIONS, b"row", headers=(("ce_id", b"1"),))]
        assert one_batch(off(), [record()], messages) == messages
        assert off().rpc("inference.GRPCInferenceService/ModelInfer", "OK", 0.01) == ()

    @pytest.mark.parametrize(
        "variables",
        [
            {"OTEL_SDK_DISABLED": "true"},
            {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"},
        ],
    )
    def test_the_standard_switches(
        self, collector: Received, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
    ) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        telemetry = from_environment("ingest")
        one_batch(telemetry, [record()], [])
        telemetry.close()
        assert not telemetry.on
        assert not collector.headers

    def test_a_batch_costs_microseconds(self) -> None:
        telemetry, records, messages = off(), [record()], [Message(PREDICTIONS, b"row")]
        began = time.perf_counter()
        for _ in range(1000):
            one_batch(telemetry, records, messages)
        assert time.perf_counter() - began < 0.5, "seconds for a thousand batches; 0.005 on an idle machine"


class TestSpans:
    def test_one_batch_of_the_loop(self, collector: Received) -> None:
        telemetry = from_environment("inference", slot="2")
        records = [record(traceparent=creator(1)), record(traceparent=creator(1)), record()]
        sent = one_batch(telemetry, records, [Message(PREDICTIONS, b"row", headers=(("ce_id", b"1"),))])
        telemetry.close()

        spans = collector.spans()
        assert set(spans) == {
            f"poll {FEATURES}",
            f"process {FEATURES}",
            f"send {PREDICTIONS}",
            f"commit {FEATURES}",
        }
        poll, process = spans[f"poll {FEATURES}"], spans[f"process {FEATURES}"]
        send, commit = spans[f"send {PREDICTIONS}"], spans[f"commit {FEATURES}"]

        assert [(link.trace_id[-1], link.span_id[-1]) for link in process.links] == [(1, 1)]
        assert send.parent_span_id == commit.parent_span_id == process.span_id
        assert send.trace_id == commit.trace_id == process.trace_id
        assert not process.parent_span_id
        assert not poll.parent_span_id
        ((kept, added),) = [message.headers for message in sent]
        assert kept == ("ce_id", b"1")
        assert names_span(added, send)

        assert plain(process.attributes) == {
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": FEATURES,
            "messaging.consumer.group.name": GROUP,
            "messaging.batch.message_count": 3,
        }
        types = [plain(span.attributes)["messaging.operation.type"] for span in (poll, send, commit)]
        assert types == ["receive", "send", "settle"]
        kinds = [span.kind for span in (poll, process, send, commit)]
        assert kinds == [
            Span.SPAN_KIND_CLIENT,
            Span.SPAN_KIND_CONSUMER,
            Span.SPAN_KIND_PRODUCER,
            Span.SPAN_KIND_CLIENT,
        ]
        assert poll.end_time_unix_nano - poll.start_time_unix_nano == 20_000_000
        assert process.start_time_unix_nano <= send.start_time_unix_nano <= commit.start_time_unix_nano
        assert process.end_time_unix_nano >= commit.end_time_unix_nano
        assert collector.resource()["service.name"] == "inference"
        assert collector.resource()["service.namespace"] == "penstock"
        assert collector.resource()["service.instance.id"] == "2"

    def test_a_batch_of_several_topics_names_none_in_its_span(self, collector: Received) -> None:
        telemetry = from_environment("ingest")
        one_batch(telemetry, [record(LABELS), record(PREDICTIONS)], [])
        telemetry.close()
        assert set(collector.spans()) == {"poll", "process", "commit"}
        assert "messaging.destination.name" not in plain(collector.spans()["process"].attributes)

    def test_no_more_links_than_the_conventions_allow_and_none_to_nonsense(self, collector: Received) -> None:
        telemetry = from_environment("ingest")
        nonsense = ["00-xyz", creator(0), f"ff{creator(1)[2:]}", "\xff\xfe"]
        records = [record(traceparent=text) for text in nonsense]
        records += [record(traceparent=creator(number)) for number in range(1, 200)]
        one_batch(telemetry, records, [])
        telemetry.close()
        links = collector.spans()[f"process {FEATURES}"].links
        assert [int.from_bytes(link.span_id, "big") for link in links] == list(range(1, 129))

    def test_a_crash_is_an_error_on_the_span_and_passes_through(self, collector: Received) -> None:
        telemetry = from_environment("ingest")
        with pytest.raises(ZeroDivisionError), telemetry.processing([record()], group=GROUP):
            _ = 1 / 0
        telemetry.close()
        (span,) = collector.spans().values()
        assert span.status.code == Status.STATUS_CODE_ERROR
        assert plain(span.attributes)["error.type"] == "ZeroDivisionError"
        (attributes,) = collector.points("messaging.process.duration")
        assert ("error.type", "ZeroDivisionError") in attributes

    def test_an_empty_poll_is_not_worth_a_word(self, collector: Received) -> None:
        telemetry = from_environment("ingest")
        telemetry.polled([], 0.05, group=GROUP)
        telemetry.close()
        assert not collector.traces
        assert not collector.instruments()

    def test_a_call_is_the_child_of_its_caller(self, collector: Received) -> None:
        telemetry = from_environment("inference")
        method = "inference.GRPCInferenceService/ModelInfer"
        headers = telemetry.rpc(method, "INVALID_ARGUMENT", 0.004, traceparent=creator(7))
        telemetry.close()
        span = collector.spans()[method]
        assert span.kind == Span.SPAN_KIND_SERVER
        assert int.from_bytes(span.trace_id, "big") == int.from_bytes(span.parent_span_id, "big") == 7
        assert span.status.code == Status.STATUS_CODE_UNSET, "the caller's mistake is no error of the server"
        assert span.end_time_unix_nano - span.start_time_unix_nano == 4_000_000
        expected = {
            "rpc.system.name": "grpc",
            "rpc.method": method,
            "rpc.status_code": "INVALID_ARGUMENT",
            "error.type": "INVALID_ARGUMENT",
        }
        assert plain(span.attributes) == expected
        assert collector.points("rpc.server.call.duration") == {frozenset(expected.items()): 1}
        (header,) = headers
        assert names_span(header, span), "so that the prediction's record names the call as its cause"

    def test_a_failure_of_the_server_is_an_error(self, collector: Received) -> None:
        telemetry = from_environment("inference")
        telemetry.rpc("inference.GRPCInferenceService/ModelInfer", "UNAVAILABLE", 0.001)
        telemetry.close()
        (span,) = collector.spans().values()
        assert span.status.code == Status.STATUS_CODE_ERROR


class TestMetrics:
    def test_the_loop_and_counts_of_our_own(self, collector: Received) -> None:
        telemetry = from_environment("inference")
        for _ in range(3):
            one_batch(telemetry, [record(), record()], [Message(PREDICTIONS, b"row")])
        telemetry.count(names.DEAD_LETTERS, topic=FEATURES, reason="wrong_type")
        telemetry.count(names.DEAD_LETTERS, 4, topic=FEATURES, reason="wrong_type")
        telemetry.count(names.DEAD_LETTERS, topic=FEATURES, reason="no_id")
        for lag in (9, 7):
            telemetry.gauge(names.LAG, lag, topic=FEATURES, partition=1, group=GROUP)
        telemetry.close()

        def by(name: str, word: str) -> dict[str, float]:
            return {dict(key)[word]: value for key, value in collector.points(name).items()}

        assert by("messaging.client.operation.duration", "messaging.operation.name") == {
            "poll": 3,
            "send": 3,
            "commit": 3,
        }
        assert by("messaging.process.duration", "messaging.system") == {"kafka": 3}
        assert by("messaging.client.consumed.messages", "messaging.destination.name") == {FEATURES: 6}
        assert by("messaging.client.sent.messages", "messaging.destination.name") == {PREDICTIONS: 3}
        assert by("penstock.dead_letters", "error.type") == {"wrong_type": 5, "no_id": 1}
        assert collector.points("penstock.consumer.lag") == {
            frozenset(
                {
                    "messaging.destination.name": FEATURES,
                    "messaging.destination.partition.id": "1",
                    "messaging.consumer.group.name": GROUP,
                }.items()
            ): 7
        }
        instruments = collector.instruments()
        assert instruments["penstock.dead_letters"].sum.is_monotonic
        known = {metric.name: metric for metric in names.METRICS}
        assert {name: each.unit for name, each in instruments.items()} == {
            name: known[name].unit for name in instruments
        }

    def test_a_count_costs_about_an_addition(self, collector: Received) -> None:
        del collector  # only so that telemetry is on
        telemetry = from_environment("ingest")
        rounds = []
        for _ in range(5):
            began = time.perf_counter()
            for _ in range(1000):
                telemetry.count(names.DEAD_LETTERS, topic=FEATURES, reason="wrong_type")
            rounds.append((time.perf_counter() - began) / 1000)
        telemetry.close()
        assert min(rounds) < 10e-6, "seconds a call; about 1 µs on an idle machine"

    def test_names_follow_the_conventions(self) -> None:
        for metric in names.METRICS:
            assert metric.name.startswith(("messaging.", "rpc.", "penstock.")), metric
            assert metric.name == metric.name.lower(), metric
            assert metric.unit in {"s", "By", "1"} or metric.unit.startswith("{"), metric
            assert not metric.name.endswith(("seconds", ".ms", "bytes")), "no unit in a name"
        assert len({metric.name for metric in names.METRICS}) == len(names.METRICS)
        words = names.Attributes.__annotations__
        assert set(words) == set(names.WIRE), "every word has its name on the wire"


class TestStandardVariables:
    def test_one_signal_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with http_receiver() as (endpoint, received):
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{endpoint}/v1/metrics")
            telemetry = from_environment("ingest")
            (message,) = one_batch(telemetry, [record()], [Message(PREDICTIONS, b"row")])
            telemetry.close()
        assert telemetry.on
        assert not received.traces
        assert message.headers == (), "no trace, so nothing that names one"
        assert received.instruments()

    def test_name_resource_and_headers(self, collector: Received, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_SERVICE_NAME", "scoring")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        telemetry = from_environment("inference")
        one_batch(telemetry, [record()], [])
        telemetry.close()
        assert collector.resource()["service.name"] == "scoring"
        assert collector.resource()["deployment.environment.name"] == "test"
        assert {headers["authorization"] for headers in collector.headers} == {"Bearer x"}
        assert {headers["content-encoding"] for headers in collector.headers} == {"gzip"}

    def test_the_sampler_decides(self, collector: Received, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
        telemetry = from_environment("inference")
        (message,) = one_batch(telemetry, [record()], [Message(PREDICTIONS, b"row")])
        telemetry.close()
        assert not collector.traces
        assert int(message.headers[0][1][-2:], 16) & 1 == 0, (
            "the next service is told that it was not sampled"
        )

    def test_grpc_where_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        with grpc_receiver() as (endpoint, received):
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            telemetry = from_environment("ingest")
            one_batch(telemetry, [record()], [])
            telemetry.close()
        assert f"process {FEATURES}" in received.spans()
        assert "messaging.process.duration" in received.instruments()


class TestAway:
    @pytest.fixture(autouse=True)
    def alone(self) -> None:
        """A process has one telemetry; an exporter of an earlier test that still retries would speak here."""
        for thread in threading.enumerate():
            if thread.name.startswith("Otel"):
                thread.join(30)
                assert not thread.is_alive(), thread.name

    @pytest.fixture
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, milliseconds in {
            "OTEL_BSP_SCHEDULE_DELAY": "20",
            "OTEL_METRIC_EXPORT_INTERVAL": "20",
        }.items():
            monkeypatch.setenv(name, milliseconds)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1.5")  # one retry after 0.8-1.2 s

    @pytest.mark.usefixtures("quick")
    def test_nobody_there_is_said_once_and_slows_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))  # bound and not listening: a connection is refused
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
            with structlog.testing.capture_logs() as lines:
                telemetry = from_environment("ingest")
                slowest = said = 0.0
                deadline = time.monotonic() + 10
                while said < 2 or time.monotonic() < deadline - 8:  # long enough for a second failure
                    began = time.perf_counter()
                    one_batch(telemetry, [record()] * 100, [Message(PREDICTIONS, b"row")] * 100)
                    slowest = max(slowest, time.perf_counter() - began)
                    said = sum(line["event"] == "telemetry_unreachable" for line in lines)
                    assert time.monotonic() < deadline, "it was never said"
                began = time.perf_counter()
                telemetry.close()
                closing = time.perf_counter() - began
        unreachable = [line for line in lines if line["event"] == "telemetry_unreachable"]
        assert sorted(line["signal"] for line in unreachable) == ["metrics", "traces"]
        assert all("refused" in line["reason"].lower() for line in unreachable), unreachable
        assert slowest < 2, "seconds for a batch"
        assert closing < 5

    @pytest.mark.usefixtures("quick")
    def test_what_was_said_is_taken_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
        with http_receiver(status=400) as (refusing, _):
            port = int(refusing.rpartition(":")[2])
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", refusing)
            with structlog.testing.capture_logs() as lines:
                telemetry = from_environment("ingest")
                until(lambda: bool(lines), telemetry)
        with http_receiver(port=port), structlog.testing.capture_logs() as later:
            until(lambda: bool(later), telemetry)
        telemetry.close()
        assert [line["event"] for line in lines + later] == [
            "telemetry_unreachable",
            "telemetry_unreachable_ended",
        ]


def until(holds: Callable[[], bool], telemetry: Telemetry) -> None:
    """Work until something is so."""
    deadline = time.monotonic() + 10
    while not holds():
        one_batch(telemetry, [record()], [])
        assert time.monotonic() < deadline
        time.sleep(0.005)  # the exporter's thread needs the processor too
