"""What the monitor waits for before Faust is started."""

from __future__ import annotations

import pytest
import structlog

from penstock.monitor.faust import serve
from penstock.monitor.faust.security import credentials
from penstock.monitor.faust.serve import require_topics, wait_for
from penstock.runtime.broker import Topic
from penstock.runtime.catalog import Names
from penstock.runtime.errors import Unavailable
from penstock.runtime.memory import MemoryBroker
from penstock.runtime.serve import Life
from penstock.runtime.settings import WrongSetting
from penstock.runtime.topics import topics
from tests.monitor.toy import ToyCore

NAMES = Names("penstock.")


def broker_with(**partitions: int) -> MemoryBroker:
    broker = MemoryBroker(now=lambda: 0)
    broker.create([Topic(name=f"penstock.{name}", partitions=count) for name, count in partitions.items()])
    broker.create(topics(NAMES.prefix))
    return broker


def test_all_there() -> None:
    require_topics(broker_with(), NAMES)


def test_a_topic_that_is_not_there_is_named() -> None:
    with pytest.raises(Unavailable, match=r"no topic penstock\.summaries: `penstock up`"):
        require_topics(MemoryBroker(now=lambda: 0), NAMES)


def test_partitions_that_do_not_match_are_named() -> None:
    with pytest.raises(
        Unavailable, match=r"summaries has 3, penstock\.monitor-state has 3, .*evidence has 2"
    ):
        require_topics(broker_with(evidence=2), NAMES)


def test_it_waits_says_so_once_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    broker, life, looks = MemoryBroker(now=lambda: 0), Life(), [0]

    def later(_: float) -> bool:
        looks[0] += 1
        if looks[0] == 3:
            broker.create(topics(NAMES.prefix))
        return False

    monkeypatch.setattr(life.stop, "wait", later)
    with structlog.testing.capture_logs() as lines:
        built = wait_for(broker, NAMES, ToyCore, life)
    assert built is not None
    built[0].close()
    said = [line["event"] for line in lines if line["event"].startswith("waiting")]
    assert (said, looks) == (["waiting", "waiting_ended"], [3])


def test_who_is_told_to_end_while_waiting_ends() -> None:
    life = Life()
    life.stop.set()
    assert wait_for(MemoryBroker(now=lambda: 0), NAMES, ToyCore, life) is None


@pytest.mark.parametrize(
    ("properties", "why"),
    [
        ({"sasl.oauthbearer.config": "x"}, "cannot speak to Kafka so"),
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "GSSAPI"}, "speaks PLAIN, SCRAM-SHA-256"),
        ({"security.protocol": "TLS"}, "expected PLAINTEXT, SSL"),
        ({"security.protocol": "SSL", "ssl.ca.location": "/nowhere"}, "cannot be read"),
    ],
)
def test_what_faust_cannot_do_is_refused(properties: dict[str, str], why: str) -> None:
    with pytest.raises(WrongSetting, match=why):
        credentials(properties)


def test_what_operators_say_to_all_services_faust_understands() -> None:
    plain = credentials(
        {
            "security.protocol": "sasl_plaintext",
            "sasl.mechanisms": "SCRAM-SHA-512",
            "sasl.username": "monitor",
            "sasl.password": "secret",
            "socket.keepalive.enable": "true",
        }
    )
    assert (plain.protocol.value, plain.mechanism.value) == ("SASL_PLAINTEXT", "SCRAM-SHA-512")
    assert (plain.username, plain.password) == ("monitor", "secret")
    secure = credentials({"security.protocol": "SSL", "ssl.endpoint.identification.algorithm": "none"})
    assert (secure.protocol.value, secure.context.check_hostname) == ("SSL", False)
    assert credentials({"security.protocol": "plaintext"}) is None


def test_the_module_says_which_topics() -> None:
    assert serve.OUTPUT == "evidence"
