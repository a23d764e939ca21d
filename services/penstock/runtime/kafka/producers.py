"""Writing to Kafka: in transactions, or one by one where losing a few in a crash is allowed and counted."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException

from penstock.runtime.broker import (
    HELD_SECONDS,
    Aborted,
    Consumer,
    Headers,
    Message,
    Position,
    TopicPartition,
)
from penstock.runtime.errors import Unavailable
from penstock.runtime.kafka.clients import (
    ANSWER_SECONDS,
    FENCED,
    REFUSALS,
    error_of,
    log,
    raise_verdict,
)
from penstock.runtime.kafka.consumers import KafkaConsumer
from penstock.runtime.kafka.watchdog import Watchdog
from penstock.runtime.records import Alike

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TRANSACTION_SECONDS = 15.0
"""How long a transaction may stay open before the coordinator aborts it."""

OUTCOME_SECONDS = 20.0
"""How long to ask for the outcome of a step: past the transaction's own time it cannot be good any more."""

CLOSING_SECONDS = 3.0
"""How long closing may wait for a broker that may be away."""

BUFFER = 100_000
"""Messages that may wait in a producer's buffer."""

ANY_PARTITION = -1
"""The key decides, or without one the client."""

FEW = 4
"""Messages that are sooner handed over one by one."""

MANY = 1000
"""Messages that are handed over in one call, in which no other thread runs."""

METADATA_LIMIT = 4095
"""Characters beside a committed offset: a broker keeps 4096 by default, and librdkafka sends one more."""

_WRITING = {
    # librdkafka's own default puts 92% of the keys elsewhere than Java and Faust do.
    "partitioner": "murmur2_random",
    "compression.type": "lz4",
    "linger.ms": 5,  # 0 is slower: batches of one
    "message.max.bytes": 1_048_576,  # a broker's default for a topic, less its own overhead
    "message.timeout.ms": 10_000,
    "delivery.report.only.error": True,
}


_ALIKE: Final[Callable[[Message], tuple[str, Headers, int | None]]] = itemgetter(0, 3, 4)


class _Failures:
    """Records that were taken and could not be written; apart, or a producer would keep itself alive.

    Called back without a single call into C in it; see `_told_again`.
    """

    def __init__(self) -> None:
        self.count = 0
        self.last: KafkaError | None = None

    def note(self, error: KafkaError | None, _message: Any) -> None:
        if error is not None:
            self.count += 1
            self.last = error


class KafkaTransactionalProducer:
    """Writes and commits offsets together; see `penstock.runtime.broker.TransactionalProducer`."""

    def __init__(self, config: dict[str, Any], transactional_id: str) -> None:
        self._id = transactional_id
        self._open = False
        self._begun = time.monotonic()
        self._failures = _Failures()
        self._client = ck.Producer(
            {
                **_WRITING,
                **config,
                "transactional.id": transactional_id,
                "transaction.timeout.ms": round(TRANSACTION_SECONDS * 1000),
                # After a commit the coordinator is busy for a moment. With librdkafka's 100 ms between two
                # tries a transaction takes 100 ms, with this one 3-8.
                "retry.backoff.ms": 5,
                "retry.backoff.max.ms": 20,
                "queue.buffering.max.messages": BUFFER,
                # By number alone: a transaction's messages are in this process's memory anyway.
                "queue.buffering.max.kbytes": 2_147_483_647,
                "on_delivery": self._failures.note,
            }
        )
        self._watchdog = Watchdog()
        try:
            self._step("taking over", self._client.init_transactions, seconds=ANSWER_SECONDS)
        except BaseException:
            self._watchdog.close()
            raise

    def begin(self) -> None:
        self._failures.last = None
        self._step("beginning", lambda _: self._client.begin_transaction())
        self._open = True
        self._begun = time.monotonic()

    def send(self, messages: Iterable[Message]) -> None:
        if isinstance(messages, Alike):
            self._send_alike(messages)
        else:
            for (topic, headers, partition), run in groupby(messages, _ALIKE):
                some = list(run)
                if headers or len(some) < FEW:
                    self._send_each(some)  # librdkafka takes many at once, but not their headers
                else:
                    keys, values = [each.key for each in some], [each.value for each in some]
                    self._send_alike(Alike(topic, keys, values, partition))
        self._serve(0)

    def _send_each(self, messages: Iterable[Message]) -> None:
        produce = self._client.produce
        for message in messages:
            arguments = _arguments(message)
            while True:
                try:
                    produce(message.topic, **arguments)
                    break
                except BufferError:  # the broker is slower than we are: let it catch up, drop nothing
                    self._serve(0.1)
                except KafkaException as exception:
                    self._judge("writing", exception)

    def _send_alike(self, messages: Alike) -> None:
        """Many at once: two thirds of the time that one by one takes."""
        topic, keys, values = messages.topic, messages.keys, messages.values
        where = ANY_PARTITION if messages.partition is None else messages.partition
        for start in range(0, len(keys), MANY):
            pairs = zip(keys[start : start + MANY], values[start : start + MANY], strict=True)
            many = [{"key": key, "value": value} for key, value in pairs]
            # Of what does not fit into the buffer librdkafka leaves out some and takes others: out of order.
            while len(self._client) + len(many) > BUFFER:
                self._serve(0.1)
            if self._client.produce_batch(topic, many, where) < len(many):
                refused = next(each["_error"] for each in many if "_error" in each)
                self._judge("writing", KafkaException(refused))
            self._serve(0)

    def send_offsets(self, consumer: Consumer, offsets: Mapping[TopicPartition, Position]) -> None:
        if not isinstance(consumer, KafkaConsumer):
            raise TypeError(f"a Kafka transaction commits for a Kafka consumer, not for {consumer!r}")
        too_long = [str(p) for p, at in offsets.items() if len(at.metadata) > METADATA_LIMIT]
        if too_long:
            raise ValueError(f"more than {METADATA_LIMIT} characters to remember: {', '.join(too_long)}")
        positions = [
            ck.TopicPartition(p.topic, p.partition, at.offset, at.metadata) for p, at in offsets.items()
        ]
        membership = consumer.membership()
        self._step(
            "committing offsets",
            lambda seconds: self._client.send_offsets_to_transaction(positions, membership, seconds),
        )

    def commit(self) -> None:
        self._step("committing", self._client.commit_transaction)
        self._open = False

    def abort(self) -> None:
        if self._open:
            self._step("aborting", self._client.abort_transaction)
            self._open = False

    def close(self) -> None:
        if self._open:
            # So that readers need not wait for the coordinator to find out; where nobody answers it must.
            with contextlib.suppress(KafkaException, SystemError):
                self._client.abort_transaction(CLOSING_SECONDS)
            self._open = False
        self._client.purge()
        self._watchdog.close()

    def _step(self, what: str, call: Callable[[float], None], *, seconds: float = OUTCOME_SECONDS) -> None:
        """One call to the coordinator, repeated while librdkafka says that this is safe."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                left = max(0.1, deadline - time.monotonic())
                with self._watchdog.expects(
                    f"{what} in a transaction of {self._id}", seconds=2 * left + 10.0
                ):
                    call(left)
            except SystemError:  # see _told_again
                if time.monotonic() > deadline:
                    raise
            except KafkaException as exception:
                if not error_of(exception).retriable() or time.monotonic() > deadline:
                    self._judge(what, exception)
            else:
                return

    def _judge(self, what: str, exception: KafkaException) -> None:
        """What becomes of the transaction: aborted, if that is what it takes and it can be done."""
        error = error_of(exception)
        # In a transaction that must be aborted librdkafka answers `_STATE` to every further call.
        spoilt = error.txn_requires_abort() or (self._open and error.code() == KafkaError._STATE)  # noqa: SLF001
        if spoilt and self._open:
            cause = self._failures.last or error
            self._open = False
            self._step("aborting", self._client.abort_transaction)
            if cause.code() not in REFUSALS:
                raise Aborted(f"{what} in a transaction of {self._id}: {cause.str()}") from exception
            exception = KafkaException(cause)
        open_for = time.monotonic() - self._begun
        if self._open and error.code() in FENCED and open_for > TRANSACTION_SECONDS:
            # The coordinator has aborted it for its age: a newer epoch too, though nobody else has it.
            raise Unavailable(
                f"{what}: the transaction of {self._id} was open for {open_for:.0f} s"
            ) from exception
        raise_verdict(f"{what} in a transaction of {self._id}", exception)

    def _serve(self, seconds: float) -> None:
        """Let librdkafka call back; a fatal error is raised here too."""
        try:
            with _told_again():
                self._client.poll(seconds)
        except KafkaException as exception:
            self._judge("writing", exception)


class KafkaProducer:
    """Writes outside transactions, never making the caller wait; see `penstock.runtime.broker.Producer`."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._failures = _Failures()
        self._client = ck.Producer(
            {
                **_WRITING,
                **config,
                "enable.idempotence": True,
                # Nobody waits for these: what the buffer holds outlives a broker's restart.
                "message.timeout.ms": round(HELD_SECONDS * 1000),
                "queue.buffering.max.messages": BUFFER,
                "queue.buffering.max.kbytes": 32_768,
                "on_delivery": self._failures.note,
            }
        )

    def send(self, message: Message) -> bool:
        return bool(self.send_all((message,)))

    def send_all(self, messages: Sequence[Message]) -> int:
        # Once for all of them: it lets go of the interpreter, and takes it again.
        self._serve()
        produce = self._client.produce
        for taken, message in enumerate(messages):
            try:
                produce(message.topic, **_arguments(message))
            except BufferError:
                return taken
            except KafkaException as exception:
                error = error_of(exception)
                if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001 - produce() marks it by this alone
                    if taken:  # it is told of these first; the next call finds the error again
                        return taken
                    raise Unavailable(f"writing to {message.topic}: {error.str()}") from exception
                log.debug("not written to %s: %s", message.topic, error.str())
                self._failures.count += 1
        return len(messages)

    def failed(self) -> int:
        self._serve()
        return self._failures.count

    def waiting(self) -> int:
        self._serve()
        return len(self._client)

    def flush(self, seconds: float) -> int:
        try:
            with _told_again():
                self._client.flush(seconds)
        except KafkaException as exception:
            raise_verdict("writing", exception)
        return len(self._client)

    def close(self) -> None:
        with contextlib.suppress(KafkaException, SystemError):
            self._client.flush(CLOSING_SECONDS)
        self._client.purge()

    def _serve(self) -> None:
        # Who only counts is not to be stopped by a fatal error: the next `send` is refused for it, too.
        with _told_again(), contextlib.suppress(KafkaException):
            self._client.poll(0)


def _told_again() -> contextlib.AbstractContextManager[None]:
    """After a fatal error confluent_kafka 2.16 calls back with its exception already set, which Python turns
    into a SystemError that says nothing. The fatal error itself comes again with the next call.
    """
    return contextlib.suppress(SystemError)


def _arguments(message: Message) -> dict[str, Any]:
    arguments: dict[str, Any] = {"value": message.value, "key": message.key}
    if message.partition is not None:
        arguments["partition"] = message.partition
    if message.headers:
        arguments["headers"] = list(message.headers)
    return arguments
