"""What is written for Kafka to read: one node, broker and controller at once, on 127.0.0.1 alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_INT = 2_147_483_647


def server_properties(*, data: Path, port: int, controller: int) -> str:
    """The text of ``server.properties``.

    >>> from pathlib import Path
    >>> text = server_properties(data=Path("/d"), port=9092, controller=9093)
    >>> "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093" in text.splitlines()
    True
    """
    listeners = f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}"
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
        "listeners": listeners,
        "advertised.listeners": listeners,
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": _escaped(str(data)),
        # One node: one replica of everything, and one partition of the internal topics is plenty.
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        # A group's first member is given its partitions at once.
        "group.initial.rebalance.delay.ms": 0,
        # After kill -9 the controller believes the dead broker alive for a session, and refuses the new one
        # until then: with the default of 9 s a restart takes 12 s, with this one 5.
        "broker.session.timeout.ms": 3_000,
        "broker.heartbeat.interval.ms": 500,
        # Topics are made by `apply`, from schemas/topics.yaml: a misspelt name is an error.
        "auto.create.topics.enable": "false",
        # Progress is not forgotten when a laptop is closed for a month: as long as Kafka can count.
        "offsets.retention.minutes": LARGEST_INT,
        # A laptop's share of threads and memory.
        "log.cleaner.dedupe.buffer.size": 10_485_760,
        "log.cleaner.threads": 1,
        "num.network.threads": 2,
        "num.io.threads": 2,
        "background.threads": 2,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def log4j2_properties(log: Path) -> str:
    """The text of ``log4j2.properties``: warnings and errors to a file of bounded size, else silence."""
    path = _escaped(str(log))
    return f"""\
status = off
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {path}
appender.file.filePattern = {path}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{ISO8601}} %p %c{{1}}: %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 1MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
"""


def _escaped(path: str) -> str:
    r"""A path as Java's property files want it: a backslash would be taken for an escape.

    >>> _escaped(r"/a\b")
    '/a\\\\b'
    """
    return path.replace("\\", "\\\\")
