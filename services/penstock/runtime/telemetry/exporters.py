"""The OTLP exporters, chosen by the standard variables, and saying once that they cannot reach anybody."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from penstock.runtime.logs import Conditions, get

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.trace import ReadableSpan


class Complaints(logging.Handler):
    """Turns what the SDK complains of, at every retry of every export, into one line for each trouble."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._conditions = {signal: Conditions() for signal in ("traces", "metrics")}
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("opentelemetry.exporter"):
            signal = "metrics" if "metric" in record.name else "traces"
            self._conditions[signal].began("telemetry_unreachable", signal=signal, reason=record.getMessage())
        elif record.msg not in self._said:
            self._said.add(record.msg)
            get().warning("telemetry_troubled", reason=record.getMessage())

    def sent(self, signal: str) -> None:
        """Something came through: the trouble is over, if there was any."""
        self._conditions[signal].ended("telemetry_unreachable", signal=signal)


class Spans(SpanExporter):
    """Exports by another exporter, and says when something came through."""

    def __init__(self, inner: SpanExporter, complaints: Complaints) -> None:
        self._inner, self._complaints = inner, complaints

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._complaints.sent("traces")
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._inner.force_flush(timeout_millis)


class Metrics(MetricExporter):
    """The same for metrics."""

    def __init__(self, inner: MetricExporter, complaints: Complaints) -> None:
        # The reader asks its exporter for the temporality that OTEL_EXPORTER_OTLP_METRICS_* chose.
        super().__init__(inner._preferred_temporality, inner._preferred_aggregation)  # noqa: SLF001 - no public way
        self._inner, self._complaints = inner, complaints

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object
    ) -> MetricExportResult:
        result = self._inner.export(metrics_data, timeout_millis, **kwargs)
        if result is MetricExportResult.SUCCESS:
            self._complaints.sent("metrics")
        return result

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
        self._inner.shutdown(timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self._inner.force_flush(timeout_millis)


def _grpc(signal: str) -> bool:
    """Whether the signal goes by gRPC; `http/protobuf` is the default, as the specification recommends."""
    general = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip()
    return (os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "").strip() or general) == "grpc"


# Imported where chosen: each exporter brings its own client, and a process needs one of the two.
def spans(complaints: Complaints) -> SpanExporter:
    if _grpc("TRACES"):
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as by_grpc  # noqa: PLC0415

        return Spans(by_grpc.OTLPSpanExporter(), complaints)
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as by_http  # noqa: PLC0415

    return Spans(by_http.OTLPSpanExporter(), complaints)


def metrics(complaints: Complaints) -> MetricExporter:
    if _grpc("METRICS"):
        from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as by_grpc  # noqa: PLC0415

        return Metrics(by_grpc.OTLPMetricExporter(), complaints)
    from opentelemetry.exporter.otlp.proto.http import metric_exporter as by_http  # noqa: PLC0415

    return Metrics(by_http.OTLPMetricExporter(), complaints)
