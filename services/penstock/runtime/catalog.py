"""What every service knows before its first record: schemas and pipelines, folded from their topics."""

from __future__ import annotations

from collections.abc import Iterable

from penstock.contracts.records import FeatureRow, Outcome, PipelineApplied, Prediction
from penstock.kernel.errors import Invalid
from penstock.kernel.hashing import partition_of
from penstock.kernel.pipeline import Pipeline
from penstock.kernel.spec import read_spec
from penstock.runtime import logs
from penstock.runtime.broker import Broker, Message, Record
from penstock.runtime.codec import Codec, UnknownSchema, row_schema
from penstock.runtime.errors import Unavailable
from penstock.runtime.fold import Fold
from penstock.runtime.wire import Wire

ROW_KINDS = (FeatureRow, Prediction, Outcome)


class Names:
    """Full names of topics, from the catalogue's short ones.

    >>> names = Names("penstock.")
    >>> names.of("decisions"), names.of("features", "flights")
    ('penstock.decisions', 'penstock.flights.features')
    >>> names.pipeline("penstock.flights.features")
    'flights'
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def of(self, topic: str, pipeline: str | None = None) -> str:
        return f"{self.prefix}{topic}" if pipeline is None else f"{self.prefix}{pipeline}.{topic}"

    def pipeline(self, topic: str) -> str:
        """The pipeline that a pipeline topic belongs to."""
        return topic.removeprefix(self.prefix).partition(".")[0]

    def dead_letters(self, service: str, pipeline: str | None = None) -> str:
        return self.of(f"dead-letters.{service}", pipeline)


class Catalog:
    """The fold of `schemas` and `pipelines`, and the codec that knows them.

    Building it reads both topics to their ends and writes the schemas of this build that are missing; those
    of rows follow as soon as they are used, where `apply` was of another build.

    Args:
        broker: where they are.
        names: of its topics.
        codec: learns them; one of its own where none is given.

    Raises:
        Unavailable: no broker answers, or its topics are not there yet.
    """

    def __init__(self, broker: Broker, names: Names, *, codec: Codec | None = None) -> None:
        self.names = names
        self.codec = codec or Codec()
        self.pipelines: dict[str, Pipeline] = {}
        """In force now, by name."""
        self.control = broker.topics().get(names.of("pipelines"), 0)
        """Partitions of every control topic."""
        self._log = logs.get()
        self._schemas: set[bytes] = set()
        self._waiting: list[Record] = []
        self._fold = Fold(broker, [names.of("schemas"), names.of("pipelines")])
        self._take(self._fold.catch_up())
        self._broker = broker
        self._published = 0
        self._publish()

    def refresh(self) -> bool:
        """Take in what is new; whether a pipeline changed."""
        changed = self._take(self._fold.poll())
        self._publish()
        return changed

    def control_message(self, topic: str, pipeline: str, event: object, *, key: str | None = None) -> Message:
        """An event for a control topic: all of a pipeline is on one partition number, whatever the key."""
        return Message(
            self.names.of(topic),
            self.codec.encode(event),
            (pipeline if key is None else key).encode(),
            (),
            partition_of(pipeline.encode(), self.control),
        )

    def close(self) -> None:
        self._fold.close()

    def _publish(self) -> None:
        """Write the schemas that this process uses and nobody has written."""
        if (count := len(self.codec.written)) != self._published:
            publish_schemas(self._broker, self.names, self._schemas, self.codec.texts())
            self._published = count

    def _take(self, records: Iterable[Record]) -> bool:
        # Pipelines whose schema had not come before them are tried again with the next ones, in their order.
        later, self._waiting = self._waiting, []
        for record in records:
            if record.topic == self.names.of("schemas"):
                self._learn(record)
            else:
                later.append(record)
        changed = False
        for record in later:
            changed |= self._apply(record)
        return changed

    def _learn(self, record: Record) -> None:
        if record.key is None or record.value is None:
            return
        try:
            self.codec.learn(record.value)
        except Invalid as invalid:
            self._log.error("schema_refused", offset=record.offset, why=str(invalid))
        self._schemas.add(record.key)

    def _apply(self, record: Record) -> bool:
        if record.key is None:
            return False
        if record.value is None:
            return self.pipelines.pop(record.key.decode("utf-8", "replace"), None) is not None
        try:
            pipeline = read_applied(self.codec, record)
        except UnknownSchema:
            self._waiting.append(record)
            return False
        except Invalid as error:
            self._log.error("pipeline_refused", offset=record.offset, why=str(error))
            return False
        before = self.pipelines.get(pipeline.name)
        self.pipelines[pipeline.name] = pipeline
        return pipeline != before


def read_applied(codec: Codec, record: Record) -> Pipeline:
    """The pipeline in a record of the pipelines topic.

    Raises:
        Invalid: it is none.
    """
    applied = codec.decode(record.value or b"").value
    if not isinstance(applied, PipelineApplied):
        raise Invalid(f"expected a PipelineApplied, got a {type(applied).__name__}", reason="unexpected")
    pipeline = read_spec(applied.pipeline, applied.spec)
    for source in (pipeline.events, pipeline.labels):
        Wire(source.format, ())
    return pipeline


def apply_messages(
    names: Names, pipeline: Pipeline, codec: Codec, *, partitions: int, now: int
) -> list[Message]:
    """What `apply` writes: the row schemas of the pipeline, then the pipeline itself."""
    schemas = [row_schema(kind.__name__, *_layout(pipeline)) for kind in ROW_KINDS]
    applied = PipelineApplied(
        pipeline=pipeline.name, spec=pipeline.canonical().decode(), digest=pipeline.digest, applied=now
    )
    key = pipeline.name.encode()
    return [
        *(Message(names.of("schemas"), each.text.encode(), each.fingerprint) for each in schemas),
        Message(names.of("pipelines"), codec.encode(applied), key, (), partition_of(key, partitions)),
    ]


def _layout(pipeline: Pipeline) -> tuple[str, str, tuple[str, ...]]:
    return pipeline.name, pipeline.features_digest, pipeline.feature_names


def publish_schemas(broker: Broker, names: Names, there: set[bytes], texts: dict[bytes, bytes]) -> None:
    """Write the schemas that are not there yet, and wait until they are.

    Raises:
        Unavailable: they could not be written; what they describe could not be read.
    """
    missing = {fingerprint: text for fingerprint, text in texts.items() if fingerprint not in there}
    if not missing:
        return
    producer = broker.producer()
    taken = [
        producer.send(Message(names.of("schemas"), text, fingerprint))
        for fingerprint, text in missing.items()
    ]
    left = producer.flush(30.0) + producer.failed()
    producer.close()
    if left or not all(taken):
        raise Unavailable("the schemas could not be written")
