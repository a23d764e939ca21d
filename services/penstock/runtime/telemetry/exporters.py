"""The OTLP exporters, chosen by the standard variables, and saying once that they cannot reach anybody."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from penstock.runtime.logs import Conditions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.trace import ReadableSpan


class LastWords(logging.Handler):
    """Keeps what the SDK complained of last, to be given as the reason."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


LAST_WORDS: Final = LastWords()


def _report(conditions: Conditions, signal: str, *, sent: bool) -> None:
    if sent:
        conditions.ended("telemetry_unreachable", signal=signal)
    else:
        conditions.began("telemetry_unreachable", signal=signal, reason=LAST_WORDS.text)


class Spans(SpanExporter):
    """Exports by another exporter, and says when that begins and ends to fail."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._conditions = Conditions()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        _report(self._conditions, "traces", sent=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._inner.force_flush(timeout_millis)


class Metrics(MetricExporter):
    """The same for metrics."""

    def __init__(self, inner: MetricExporter) -> None:
        # The reader asks its exporter for the temporality that OTEL_EXPORTER_OTLP_METRICS_* chose.
        super().__init__(inner._preferred_temporality, inner._preferred_aggregation)  # noqa: SLF001 - no public way
        self._inner = inner
        self._conditions = Conditions()

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object
    ) -> MetricExportResult:
        result = self._inner.export(metrics_data, timeout_millis, **kwargs)
        _report(self._conditions, "metrics", sent=result is MetricExportResult.SUCCESS)
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
def spans() -> SpanExporter:
    if _grpc("TRACES"):
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as by_grpc  # noqa: PLC0415

        return Spans(by_grpc.OTLPSpanExporter())
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as by_http  # noqa: PLC0415

    return Spans(by_http.OTLPSpanExporter())


def metrics() -> MetricExporter:
    if _grpc("METRICS"):
        from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as by_grpc  # noqa: PLC0415

        return Metrics(by_grpc.OTLPMetricExporter())
    from opentelemetry.exporter.otlp.proto.http import metric_exporter as by_http  # noqa: PLC0415

    return Metrics(by_http.OTLPMetricExporter())
