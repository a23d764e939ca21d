"""What all Kafka clients of ours share: how they connect and log, and what their errors tell the loop."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from confluent_kafka import KafkaError, KafkaException

from penstock.runtime.errors import Fenced, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("penstock.kafka")

ANSWER_SECONDS = 10.0
"""How long a broker may take to answer a question before it counts as away."""

FENCED = frozenset(
    {
        KafkaError._FENCED,  # noqa: SLF001 - confluent_kafka's names for librdkafka's own errors
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.FENCED_INSTANCE_ID,
    }
)


class _Diary:
    """librdkafka's log lines, which would else go to stderr, as debug lines of the logger `penstock.kafka`.

    All of them, whatever their level: that a broker is away is said once, by the loop, when it is sure.
    """

    @staticmethod
    def log(_level: int, form: str, *arguments: object) -> None:
        log.debug(form, *arguments)


@dataclass(slots=True)
class Contact:
    """Whether a broker answers: librdkafka raises an alarm, and this looks before it is believed.

    An alarm alone proves little: an idle connection that the broker has closed can raise one.
    """

    servers: str
    alarm: str = ""

    def raise_alarm(self, error: KafkaError) -> None:
        log.debug("%s: %s", error.name(), error.str())
        if error.code() in {KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION}:  # noqa: SLF001 - as above
            self.alarm = error.str()

    def check(self, client: Any) -> None:
        """Ask, if there is an alarm.

        Raises:
            Unavailable: nobody answered.
        """
        if not self.alarm:
            return
        try:
            client.list_topics(timeout=ANSWER_SECONDS)
        except KafkaException as error:
            raise self.away(self.alarm) from error
        self.alarm = ""

    def away(self, why: str) -> Unavailable:
        return Unavailable(f"no broker answers at {self.servers}: {why}")


def client_config(contact: Contact, properties: Mapping[str, str]) -> dict[str, Any]:
    """The part of a client's configuration that is the same for all; ``properties`` are the operator's."""
    return {
        "bootstrap.servers": contact.servers,
        "logger": _Diary,
        "error_cb": contact.raise_alarm,
        "reconnect.backoff.max.ms": 1000,  # 10 s by default: a broker that is back would be found late
        # The default, "rebootstrap", throws away the brokers known when none answers, and a transaction that
        # is waiting for one of them then hangs for ever (librdkafka issue 5511): over every restart of a lone
        # broker. Our way is to make new clients, which start from the addresses given.
        "metadata.recovery.strategy": "none",
        **properties,
    }


def error_of(exception: KafkaException) -> KafkaError:
    """What confluent_kafka wraps in its one exception."""
    error: KafkaError = exception.args[0]
    return error


def raise_verdict(what: str, exception: KafkaException) -> NoReturn:
    """Tell the loop what an error means for it.

    Raises:
        Fenced: another process has this slot now.
        Unavailable: it may go well later, with new clients.
        KafkaException: anything else; a mistake of ours or of the cluster's, so the process ends.
    """
    error = error_of(exception)
    if error.code() in FENCED:
        raise Fenced(f"{what}: a newer process has taken this slot ({error.str()})") from exception
    if error.retriable() or error.fatal() or error.code() in _PASSING:
        raise Unavailable(f"{what}: {error.str()}") from exception
    raise exception


_FORBIDDEN = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
_ABSENT = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - as above
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
    }
)

# What another attempt with the same data would run into again.
REFUSALS = frozenset(
    {
        *_FORBIDDEN,
        *_ABSENT,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.OFFSET_METADATA_TOO_LARGE,
    }
)

# Errors that may pass, though librdkafka calls them neither retriable nor fatal.
_PASSING = frozenset(
    {
        *_FORBIDDEN,  # until an operator allows it
        *_ABSENT,  # until somebody creates it
        KafkaError._TRANSPORT,  # noqa: SLF001 - as above
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._WAIT_COORD,  # noqa: SLF001
        KafkaError._NOENT,  # noqa: SLF001 - no leader found
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_LEADER_EPOCH,  # a new topic's leader that has not heard of its election yet
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    }
)
