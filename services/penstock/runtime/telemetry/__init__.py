"""What a service says about itself while it runs: spans and metrics, off and free unless an endpoint is set.

Nothing is sent, and the OpenTelemetry SDK is not even imported, unless `OTEL_EXPORTER_OTLP_ENDPOINT` (or the
one for traces or metrics) is set; then the standard `OTEL_*` variables say where, how and how much. An
endpoint that is away never stops or slows a service: what cannot be sent is dropped, and that is said once.

The loop calls it so (numbers are the loop's steps):

    telemetry = from_environment("ingest", slot=settings.slot)
    while running():
        records = consumer.poll(...)                         # 1.
        telemetry.polled(records, seconds, group=group)      # span `poll T`; nothing for an empty poll
        with telemetry.processing(records, group=group):     # span `process T`, linked to the creators
            messages = core(records)                         # 2., 3.
            with telemetry.sending(messages) as traced:      # span `send T` for each topic
                producer.send(traced)
            with telemetry.committing(records, group=group): # 4., 5. span `commit T`
                ...
        telemetry.count(names.DEAD_LETTERS, 2, topic=..., reason="wrong_type")
        telemetry.gauge(names.LAG, 17, topic=..., partition=0, group=group)
    telemetry.close()

`traced` are the messages with a `traceparent` header that names their `send` span, or the very same messages
when off. `count` and `gauge` cost one addition in a dictionary, so they may be called for each record; spans
and durations are per batch, `rpc` is per call.
"""

# ruff: noqa: ARG002 - Off takes what every Telemetry takes, and ignores it

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Unpack

    from penstock.runtime.broker import Headers, Message, Record
    from penstock.runtime.names import Attributes, Counter, Gauge


class Telemetry(Protocol):
    """What a service may say about itself; see the module for how the loop says it."""

    @property
    def on(self) -> bool:
        """Whether anything is sent at all, for the rare caller whose numbers cost something to gather."""

    def polled(self, records: Sequence[Record], seconds: float, *, group: str) -> None:
        """A poll that took `seconds` brought `records`; an empty one is not worth a word."""

    def processing(self, records: Sequence[Record], *, group: str) -> AbstractContextManager[None]:
        """From decoding to commit: one span, linked to the at most 128 creators of the batch."""

    def sending(self, messages: Sequence[Message]) -> AbstractContextManager[Sequence[Message]]:
        """Producing: one span for each topic. Yields the messages to send, each naming its span."""

    def committing(self, records: Sequence[Record], *, group: str) -> AbstractContextManager[None]:
        """Offsets and outputs made final."""

    def count(self, metric: Counter, value: int = 1, **attributes: Unpack[Attributes]) -> None:
        """Add to a counter; as cheap as an addition, exported later."""

    def gauge(self, metric: Gauge, value: float, **attributes: Unpack[Attributes]) -> None:
        """Set a gauge; the last value is exported."""

    def rpc(self, method: str, code: str, seconds: float, *, traceparent: str | None = None) -> Headers:
        """A gRPC call was answered just now.

        Args:
            method: fully qualified and without a leading slash, `inference.GRPCInferenceService/ModelInfer`.
            code: the canonical name of the status, `OK` or `INVALID_ARGUMENT`.
            seconds: from its arrival to its answer.
            traceparent: the caller's W3C header, if it sent one.

        Returns:
            The headers by which a record written for this call names it as its cause.
        """

    def close(self) -> None:
        """Send what is left, for two seconds at most."""


_NOTHING: Final = nullcontext()


class Off:
    """Says nothing and costs nothing."""

    on = False

    def polled(self, records: Sequence[Record], seconds: float, *, group: str) -> None: ...

    def processing(self, records: Sequence[Record], *, group: str) -> AbstractContextManager[None]:
        return _NOTHING

    def sending(self, messages: Sequence[Message]) -> AbstractContextManager[Sequence[Message]]:
        return nullcontext(messages)

    def committing(self, records: Sequence[Record], *, group: str) -> AbstractContextManager[None]:
        return _NOTHING

    def count(self, metric: Counter, value: int = 1, **attributes: Unpack[Attributes]) -> None: ...

    def gauge(self, metric: Gauge, value: float, **attributes: Unpack[Attributes]) -> None: ...

    def rpc(self, method: str, code: str, seconds: float, *, traceparent: str | None = None) -> Headers:
        return ()

    def close(self) -> None: ...


def off() -> Telemetry:
    """The telemetry of tests, and of whoever set no endpoint.

    >>> off().on
    False
    """
    return Off()


def from_environment(service: str, *, slot: str = "0") -> Telemetry:
    """The telemetry that the standard `OTEL_*` variables ask for, in the name of this service and slot."""
    signals = wanted(os.environ)
    if not signals:
        return off()
    # Here and not above: the SDK takes a third of a second and 20 MB, which only those pay who asked for it.
    from penstock.runtime.telemetry import otlp  # noqa: PLC0415

    return otlp.Exported(service, slot=slot, signals=signals)


def wanted(environment: Mapping[str, str]) -> frozenset[str]:
    """Which of `traces` and `metrics` the environment asks for.

    >>> sorted(wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel:4318"}))
    ['metrics', 'traces']
    >>> sorted(wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel:4318", "OTEL_METRICS_EXPORTER": "none"}))
    ['traces']
    >>> wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel:4318", "OTEL_SDK_DISABLED": "true"})
    frozenset()
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return frozenset()
    return frozenset(
        signal
        for signal in ("traces", "metrics")
        if environment.get(f"OTEL_{signal.upper()}_EXPORTER", "otlp").strip().lower() != "none"
        and (
            environment.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "").strip()
            or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
        )
    )
