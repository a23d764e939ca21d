"""An OpenTelemetry collector for tests: takes OTLP over HTTP or gRPC, keeps what it is told."""

from __future__ import annotations

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
    from opentelemetry.proto.trace.v1.trace_pb2 import Span


# Generated without types: nothing here is gained by checking calls into them.
grpc: Any = import_module("grpc")
trace_grpc: Any = import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc")
metrics_grpc: Any = import_module("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc")


@dataclass
class Received:
    """What came, in the order it came."""

    traces: list[trace_pb2.ExportTraceServiceRequest] = field(default_factory=list)
    metrics: list[metrics_pb2.ExportMetricsServiceRequest] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def spans(self) -> dict[str, Span]:
        """By name; a name that came twice fails, so that no test looks at the wrong one."""
        every = [
            span
            for request in self.traces
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        named = {span.name: span for span in every}
        assert len(named) == len(every), f"more than one span of a name: {[span.name for span in every]}"
        return named

    def instruments(self) -> dict[str, Metric]:
        """The metrics of the last request that had any, by name."""
        return {
            metric.name: metric
            for request in self.metrics
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> dict[frozenset[tuple[str, Any]], Any]:
        """Attributes → value of a counter or gauge, → count of a histogram."""
        metric = self.instruments()[name]
        data = getattr(metric, metric.WhichOneof("data") or "")
        return {
            frozenset(plain(point.attributes).items()): (
                point.count if metric.HasField("histogram") else point.as_int or point.as_double
            )
            for point in data.data_points
        }

    def resource(self) -> dict[str, Any]:
        last: Any = (self.traces or self.metrics)[-1]
        (group,) = last.resource_spans if self.traces else last.resource_metrics
        return plain(group.resource.attributes)


def plain(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes as Python values."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "") for each in attributes}


@contextmanager
def http_receiver(*, port: int = 0, status: int = 200) -> Iterator[tuple[str, Received]]:
    """A collector at the address yielded; with another status it refuses whatever comes."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            received.headers.append({name.lower(): value for name, value in self.headers.items()})
            if self.path == "/v1/traces":
                received.traces.append(trace_pb2.ExportTraceServiceRequest.FromString(body))
            else:
                assert self.path == "/v1/metrics"
                received.metrics.append(metrics_pb2.ExportMetricsServiceRequest.FromString(body))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its parent's name
            """Tests print their own lines."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    serving = threading.Thread(target=server.serve_forever, args=(0.02,))
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


@contextmanager
def grpc_receiver() -> Iterator[tuple[str, Received]]:
    """The same over gRPC."""
    received = Received()

    class Traces:
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 - OTLP's name
            received.traces.append(request)
            return trace_pb2.ExportTraceServiceResponse()

    class Metrics:
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 - OTLP's name
            received.metrics.append(request)
            return metrics_pb2.ExportMetricsServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    trace_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    metrics_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}", received
    finally:
        server.stop(None).wait()
