"""Telemetry over OTLP: the only module that knows the OpenTelemetry SDK.

The contributed Kafka and gRPC instrumentations write outdated names and spans without parents, so this thin
layer writes its own. No global provider is set: what this process says is what is written here.
"""

from __future__ import annotations

import logging
import time
from collections import Counter as Multiset
from contextlib import ExitStack, contextmanager
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NoOpTracer, SpanKind, Status, StatusCode, use_span

from penstock.runtime import names
from penstock.runtime.records import column
from penstock.runtime.telemetry import exporters, traceparents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Unpack

    from opentelemetry.metrics import CallbackOptions, Histogram
    from opentelemetry.trace import Span, Tracer

    from penstock.runtime.broker import Headers, Message, Record
    from penstock.runtime.names import Attributes, Counter, Duration, Gauge, Metric

    Wire = Mapping[str, str | int]
    Key = tuple[tuple[str, str | int], ...]

# Server errors of gRPC by the conventions: the caller's mistakes are not errors of the server.
_SERVER_ERRORS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
_CLOSE_SECONDS: Final = 2.0
_DEAF: Final = logging.NullHandler()


class Exported:
    """Telemetry that is sent; made by `from_environment` alone."""

    on = True

    def __init__(self, service: str, *, slot: str, signals: frozenset[str]) -> None:
        resource = _resource(service, slot)
        self._values: dict[str, dict[Key, float]] = {
            metric.name: {} for metric in names.METRICS if isinstance(metric, names.Counter | names.Gauge)
        }
        self._lock = Lock()
        self._complaints = complaints = exporters.Complaints()
        self._providers: list[TracerProvider | MeterProvider] = []
        self._tracer: Tracer = NoOpTracer()
        if "traces" in signals:
            tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
            tracers.add_span_processor(BatchSpanProcessor(exporters.spans(complaints)))
            self._tracer = tracers.get_tracer(names.SCOPE)
            self._providers.append(tracers)
        readers = (
            [PeriodicExportingMetricReader(exporters.metrics(complaints))] if "metrics" in signals else []
        )
        meters = MeterProvider(readers, resource, shutdown_on_exit=False)
        self._providers.append(meters)
        self._durations = self._instruments(meters)
        # What was set wrongly has been said by now; the rest is said once, however often the SDK repeats it.
        self._sdk = logging.getLogger("opentelemetry")
        self._sdk.propagate = False
        self._sdk.addHandler(complaints)

    def _instruments(self, meters: MeterProvider) -> dict[str, Histogram]:
        meter = meters.get_meter(names.SCOPE)
        durations = {}
        for metric in names.METRICS:
            about = {"unit": metric.unit, "description": metric.description}
            if isinstance(metric, names.Duration):
                durations[metric.name] = meter.create_histogram(
                    metric.name, **about, explicit_bucket_boundaries_advisory=metric.buckets
                )
            elif isinstance(metric, names.Counter):
                meter.create_observable_counter(metric.name, [self._observer(metric)], **about)
            else:
                meter.create_observable_gauge(metric.name, [self._observer(metric)], **about)
        return durations

    def _observer(self, metric: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            with self._lock:
                values = dict(self._values[metric.name])
            return [Observation(value, _wire(metric, dict(key))) for key, value in values.items()]

        return observe

    def polled(self, records: Sequence[Record], seconds: float, *, group: str) -> None:
        if not records:
            return
        topics = Multiset(column(records, "topic"))
        for topic, number in topics.items():
            self.count(names.CONSUMED, number, operation="poll", topic=topic, group=group)
        wire = _operation("poll", topics, group)
        end = time.time_ns()
        span = self._tracer.start_span(
            _titled("poll", topics),
            kind=SpanKind.CLIENT,
            attributes={**wire, names.BATCH_COUNT: len(records)},
            start_time=end - int(seconds * 1e9),
        )
        span.end(end)
        self._durations[names.OPERATION_SECONDS.name].record(seconds, wire)

    @contextmanager
    def processing(self, records: Sequence[Record], *, group: str) -> Iterator[None]:
        topics = set(column(records, "topic"))
        wire = _operation("process", topics, group)
        span = self._tracer.start_span(
            _titled("process", topics),
            kind=SpanKind.CONSUMER,
            attributes={**wire, names.BATCH_COUNT: len(records)},
            links=traceparents.links(records),
        )
        with self._measured([span], names.PROCESS_SECONDS, [wire]):
            yield

    @contextmanager
    def sending(self, messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
        topics = Multiset(message.topic for message in messages)
        wires = [_operation("send", [topic]) for topic in topics]
        spans = [
            self._tracer.start_span(
                _titled("send", [topic]),
                kind=SpanKind.PRODUCER,
                attributes={**wire, names.BATCH_COUNT: topics[topic]},
            )
            for topic, wire in zip(topics, wires, strict=True)
        ]
        headers = dict(zip(topics, map(traceparents.headers, spans), strict=True))
        with self._measured(spans, names.OPERATION_SECONDS, wires):
            yield [message._replace(headers=message.headers + headers[message.topic]) for message in messages]
        for topic, number in topics.items():
            self.count(names.SENT, number, operation="send", topic=topic)

    @contextmanager
    def committing(self, records: Sequence[Record], *, group: str) -> Iterator[None]:
        topics = set(column(records, "topic"))
        wire = _operation("commit", topics, group)
        span = self._tracer.start_span(_titled("commit", topics), kind=SpanKind.CLIENT, attributes=wire)
        with self._measured([span], names.OPERATION_SECONDS, [wire]):
            yield

    @contextmanager
    def _measured(self, spans: Sequence[Span], metric: Duration, wires: Sequence[Wire]) -> Iterator[None]:
        """End the spans and record how long it took, with the kind of error if there was one."""
        began, failed = time.perf_counter(), {}
        with ExitStack() as ending:
            for span in spans:
                ending.enter_context(use_span(span, end_on_exit=True, record_exception=False))
            try:
                yield
            except BaseException as error:
                failed = {names.ERROR: type(error).__qualname__}
                for span in spans:
                    span.set_attributes(failed)
                raise
            finally:
                for wire in wires:
                    self._durations[metric.name].record(time.perf_counter() - began, {**wire, **failed})

    def count(self, metric: Counter, value: int = 1, **attributes: Unpack[Attributes]) -> None:
        key: Key = tuple(attributes.items())  # type: ignore[arg-type]  # a TypedDict's values are object to mypy
        with self._lock:
            values = self._values[metric.name]
            values[key] = values.get(key, 0) + value

    def gauge(self, metric: Gauge, value: float, **attributes: Unpack[Attributes]) -> None:
        key: Key = tuple(attributes.items())  # type: ignore[arg-type]  # as above
        with self._lock:
            self._values[metric.name][key] = value

    def rpc(self, method: str, code: str, seconds: float, *, traceparent: str | None = None) -> Headers:
        wire = _wire(names.RPC_SECONDS, {"method": method, "code": code})
        if code != "OK":
            wire[names.ERROR] = code
        end = time.time_ns()
        span = self._tracer.start_span(
            method,
            context=traceparents.parent(traceparent),
            kind=SpanKind.SERVER,
            attributes=wire,
            start_time=end - int(seconds * 1e9),
        )
        if code in _SERVER_ERRORS:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)
        self._durations[names.RPC_SECONDS.name].record(seconds, wire)
        return traceparents.headers(span)

    def close(self) -> None:
        # In a thread, since an exporter in the middle of its retries does not look up for ten seconds.
        closing = Thread(target=self._shut, name="telemetry-close", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)
        # An export that is still retried complains to nobody; without a handler it would write to stderr.
        self._sdk.removeHandler(self._complaints)
        self._sdk.addHandler(_DEAF)

    def _shut(self) -> None:
        for provider in self._providers:
            provider.shutdown()


def _resource(service: str, slot: str) -> Resource:
    """Who speaks: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over what we know ourselves."""
    ours = {"service.name": service, "service.namespace": "penstock", "service.instance.id": slot}
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})


def _titled(operation: str, topics: Iterable[str]) -> str:
    """A span's name: of several topics none is named, as the conventions say of batches."""
    match list(topics):
        case [topic]:
            return f"{operation} {topic}"
        case _:
            return operation


def _operation(operation: str, topics: Iterable[str], group: str = "") -> dict[str, str | int]:
    wire: dict[str, str | int] = {
        names.SYSTEM: "kafka",
        names.WIRE["operation"]: operation,
        names.OPERATION_TYPE: names.OPERATION_TYPES[operation],
    }
    match list(topics):
        case [topic]:
            wire[names.WIRE["topic"]] = topic
    if group:
        wire[names.WIRE["group"]] = group
    return wire


def _wire(metric: Metric, attributes: Mapping[str, Any]) -> dict[str, Any]:
    wire: dict[str, Any] = {names.WIRE[word]: value for word, value in attributes.items()}
    if (partition := attributes.get("partition")) is not None:
        wire[names.WIRE["partition"]] = str(
            partition
        )  # a string by the conventions: other systems name theirs
    if metric.name.startswith("messaging."):
        wire[names.SYSTEM] = "kafka"
    if metric.name.startswith("rpc."):
        wire[names.RPC_SYSTEM] = "grpc"
    return wire
