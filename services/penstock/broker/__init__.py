"""The embedded broker: the real Apache Kafka, one node, run from Python without Java, Maven or Docker.

`prepare` fetches and configures, and says how to run it; `EmbeddedKafka` runs it, for tests and the command
line; ``python -m penstock.broker --data DIR`` runs it in the foreground.
"""

from __future__ import annotations

from penstock.broker.embedded import EmbeddedKafka
from penstock.broker.errors import BrokerError
from penstock.broker.launch import Launch, prepare, wait_ready
from penstock.broker.leash import leashed

__all__ = ["BrokerError", "EmbeddedKafka", "Launch", "leashed", "prepare", "wait_ready"]
