"""Every name telemetry sends, in one typed list: OpenTelemetry's own (semantic conventions 1.44), then ours.

A call site writes short words, which mypy checks, and this module says what they are called on the wire:

    telemetry.count(names.DEAD_LETTERS, 3, topic="penstock.flights.features", reason="wrong_type")

No entity ids here (no prediction id, no artifact digest): a metric's attributes have few values for ever.
Units are in `unit`, never in a name: seconds, bytes (`By`), `{noun}` for things counted, `1` for a share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypedDict

# The instrumentation scope of everything sent.
SCOPE: Final = "penstock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What is measured; the subclass says how it adds up."""

    name: str
    unit: str
    description: str


class Counter(Metric):
    """Only grows."""

    __slots__ = ()


class Gauge(Metric):
    """Is what it was last set to."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration(Metric):
    """A distribution of seconds; the default buckets are those the conventions recommend."""

    buckets: tuple[float, ...] = (
        0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
    )  # fmt: skip


class Attributes(TypedDict, total=False):
    """The words a call site may qualify a measurement with."""

    topic: str
    partition: int
    group: str
    operation: str
    reason: str
    pipeline: str
    version: int
    role: str
    origin: str
    method: str
    code: str


# Word at the call site → attribute on the wire.
WIRE: Final[dict[str, str]] = {
    "topic": "messaging.destination.name",
    "partition": "messaging.destination.partition.id",
    "group": "messaging.consumer.group.name",
    "operation": "messaging.operation.name",
    "reason": "error.type",
    "pipeline": "penstock.pipeline",
    "version": "penstock.model.version",
    "role": "penstock.model.role",
    "origin": "penstock.prediction.origin",
    "method": "rpc.method",
    "code": "rpc.status_code",
}

ERROR: Final = "error.type"
SYSTEM: Final = "messaging.system"
OPERATION_TYPE: Final = "messaging.operation.type"
BATCH_COUNT: Final = "messaging.batch.message_count"
RPC_SYSTEM: Final = "rpc.system.name"

# Operation → its type in the conventions.
OPERATION_TYPES: Final[dict[str, str]] = {
    "poll": "receive",
    "process": "process",
    "send": "send",
    "commit": "settle",
}

OPERATION_SECONDS: Final = Duration(
    name="messaging.client.operation.duration",
    unit="s",
    description="How long a poll, a send or a commit took.",
)
PROCESS_SECONDS: Final = Duration(
    name="messaging.process.duration",
    unit="s",
    description="How long one batch took from its decoding to its commit.",
)
SENT: Final = Counter(
    name="messaging.client.sent.messages",
    unit="{message}",
    description="Records handed to the producer.",
)
CONSUMED: Final = Counter(
    name="messaging.client.consumed.messages",
    unit="{message}",
    description="Records delivered to the loop.",
)
RPC_SECONDS: Final = Duration(
    name="rpc.server.call.duration",
    unit="s",
    description="How long a gRPC call took, from its arrival to its answer.",
)

LAG: Final = Gauge(
    name="penstock.consumer.lag",
    unit="{record}",
    description="Records between this consumer's position and the end of the partition.",
)
DEAD_LETTERS: Final = Counter(
    name="penstock.dead_letters",
    unit="{record}",
    description="Records set aside because they can never be processed, by reason.",
)
PREDICTIONS: Final = Counter(
    name="penstock.predictions",
    unit="{prediction}",
    description="Answers given, by origin, version and role.",
)
PREDICTIONS_UNLOGGED: Final = Counter(
    name="penstock.predictions.unlogged",
    unit="{prediction}",
    description="gRPC answers that could not be logged; a gap marks them in the log.",
)
PREDICTIONS_SPOOLED: Final = Gauge(
    name="penstock.predictions.spooled",
    unit="{prediction}",
    description="gRPC answers that wait to be logged; they are many where Kafka is away.",
)
ROUTE_EPOCH: Final = Gauge(
    name="penstock.route.epoch",
    unit="{epoch}",
    description="Number of the routing table in force here.",
)

METRICS: Final[tuple[Metric, ...]] = (
    OPERATION_SECONDS,
    PROCESS_SECONDS,
    SENT,
    CONSUMED,
    RPC_SECONDS,
    LAG,
    DEAD_LETTERS,
    PREDICTIONS,
    PREDICTIONS_UNLOGGED,
    PREDICTIONS_SPOOLED,
    ROUTE_EPOCH,
)
