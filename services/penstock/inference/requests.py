"""Asking by topic: `P.requests` in, `P.replies` and `P.predictions` out, in the transaction of the stream.

A record is one ModelInfer, answered by the very function that answers it over gRPC. What went wrong is an
answer, too: a record that cannot be read gets a reply that says so, and is no dead letter. Everything comes
from the record: without an event time it is the record's timestamp, without an id where the record stands,
so a request that is answered again after an abort is answered alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from google.protobuf.message import DecodeError

from penstock.contracts import oip_pb2
from penstock.contracts.records import Origin, Prediction
from penstock.inference import restform
from penstock.inference.explaining import chosen, sampled
from penstock.inference.faults import Fault
from penstock.inference.gathering import Noted, parts
from penstock.inference.oip import PIN, Chance, Served, infer, varint
from penstock.inference.statuses import status
from penstock.inference.writing import Writer
from penstock.kernel.errors import Invalid
from penstock.kernel.mistakes import show
from penstock.runtime import logs
from penstock.runtime.broker import Message
from penstock.runtime.deadletter import Refused
from penstock.runtime.records import Alike

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from penstock.inference.domain import Serving
    from penstock.inference.tally import Tally
    from penstock.runtime.broker import Record
    from penstock.runtime.catalog import Names
    from penstock.runtime.codec import Codec

CORRELATION: Final = "correlation-id"
REPLY_TOPIC: Final = "reply-topic"
STATUS: Final = "status"
CONTENT: Final = "content-type"
PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
LARGEST: Final = 1_000_000
"""Bytes of a reply: what a topic takes."""
MOST: Final = 1000
"""Predictions that are written at once."""


class Answered(NamedTuple):
    """What a batch of requests becomes."""

    replies: list[Message]
    predictions: list[Alike]
    refused: list[Refused]


class Requests:
    """Answers records of requests.

    Args:
        names: full names of topics.
        codec: of this thread.
        tally: told of what was answered.
    """

    def __init__(self, names: Names, codec: Codec, tally: Tally) -> None:
        self._names = names
        self._codec = codec
        self._tally = tally
        self._log = logs.get(component="requests")

    def answer(self, serving: Serving, records: Sequence[Record]) -> Answered:
        """Answer requests to one pipeline."""
        name = serving.pipeline.name
        found = Answered([], [], [])
        noted: list[Noted] = []
        for record in records:
            headers = {key.lower(): value for key, value in record.headers}
            if record.value is None and CORRELATION not in headers:
                why = Invalid("the record has no value, and nothing to reply to", reason="empty")
                found.refused.append(Refused(record, why))
                continue
            reply, served = self._one(serving, record, headers)
            found.replies.append(reply)
            if served is not None:
                noted.append(Noted(_explained(served), ()))
        for part in parts(noted, most=MOST):
            self._tally.add(name, Origin.GRPC, part.rows.scored.answers)
            keys = [id_.encode() for id_ in part.rows.ids]
            payloads = self._writer(serving).write(part.rows)
            found.predictions.append(Alike(self._names.of("predictions", name), keys, payloads))
        return found

    def _one(
        self, serving: Serving, record: Record, headers: Mapping[str, bytes]
    ) -> tuple[Message, Served | None]:
        """The reply, and what is logged."""
        topic = self._names.of("replies", serving.pipeline.name)
        content = _text(headers.get(CONTENT, b"")).partition(";")[0].strip().lower() or PROTOBUF
        json = content == JSON
        served: Served | None = None
        try:
            answer, served = self._answer(serving, record, headers, content)
        except Fault as fault:
            answer = fault
        word, value = "OK", b""
        if isinstance(answer, Fault):
            word, value = answer.code, restform.error_of(answer) if json else status(answer)
        else:
            value = answer
        id_ = _id(record.value or b"", json=json) if served is None else served.asked.id
        told = (
            (CORRELATION, headers.get(CORRELATION) or (id_ or _place(record)).encode("utf-8", "replace")),
            (STATUS, word.encode()),
            (CONTENT, (JSON if json else PROTOBUF).encode()),
        )
        return Message(topic, value, record.key, told, record.partition), served

    def _answer(
        self, serving: Serving, record: Record, headers: Mapping[str, bytes], content: str
    ) -> tuple[bytes | Fault, Served | None]:
        _check(content, headers, self._names.of("replies", serving.pipeline.name))
        if record.value is None:
            raise Fault("INVALID_ARGUMENT", "the record has no value")
        json = content == JSON
        request = restform.request_of(record.value) if json else record.value
        chance = Chance(now=record.timestamp, new_id=lambda: _place(record))
        answer, served = self._infer(serving, request, chance, headers)
        if isinstance(answer, Fault):
            return answer, served
        value = restform.response_of(answer) if json else answer
        if len(value) > LARGEST:  # and what nobody is told was not predicted
            why = f"the reply has {len(value)} bytes, at most {LARGEST} fit: ask for fewer rows at once"
            return Fault("RESOURCE_EXHAUSTED", why), None
        return value, served

    def _infer(
        self, serving: Serving, request: bytes, chance: Chance, headers: Mapping[str, bytes]
    ) -> tuple[bytes | Fault, Served]:
        name = serving.pipeline.name
        if not request.startswith(_NAME):
            # The topic says which pipeline is meant. A name behind this one, if there is any, comes to count.
            request = _NAME + varint(len(name)) + name.encode() + request
        try:
            return infer({name: serving}, request, chance, _text(headers.get(PIN, b"")))
        except Fault:
            raise
        except Exception as error:
            self._log.exception("request_failed", pipeline=name)
            what = f"this is a bug in Penstock, and in its log: {type(error).__name__}"
            raise Fault("INTERNAL", what) from error

    def _writer(self, serving: Serving) -> Writer:
        pipeline = serving.pipeline
        rows = self._codec.rows(Prediction, pipeline.name, pipeline.features_digest, pipeline.feature_names)
        return Writer(rows, Origin.GRPC)


_NAME: Final = b"\x0a"
"""What begins a request whose first field is its model's name, as libraries write it."""


def _check(content: str, headers: Mapping[str, bytes], topic: str) -> None:
    if content not in (PROTOBUF, JSON):
        why = f"header {CONTENT} is {show(content)}, expected {PROTOBUF} or {JSON}"
        raise Fault("INVALID_ARGUMENT", why)
    wanted = _text(headers.get(REPLY_TOPIC, b""))
    if wanted and wanted != topic:
        # Who may write requests could otherwise have anything written anywhere.
        why = f"header {REPLY_TOPIC} is {show(wanted)}: replies go to {topic}, and nowhere else"
        raise Fault("INVALID_ARGUMENT", why)


def _explained(served: Served) -> Served:
    """With the share of the rows explained that the pipeline asks for, as all its predictions are."""
    asked = served.asked
    if served.attributions or not chosen(asked.serving, asked.ids):
        return served
    names, matrix = asked.serving.layout.names, asked.vectors.matrix
    return served._replace(attributions=sampled(asked.serving, served.scored, asked.ids, names, matrix))


def _id(value: bytes, *, json: bool) -> str:
    """The id of a request that may be wrong in all else."""
    if json:
        return restform.id_of(value)
    try:
        return oip_pb2.ModelInferRequest.FromString(value).id
    except DecodeError:
        return ""


def _place(record: Record) -> str:
    """The id of a request without one: nobody else has it, and its producer knows it from Kafka."""
    return f"{record.topic}/{record.partition}/{record.offset}"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
