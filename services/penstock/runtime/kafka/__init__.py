"""Apache Kafka behind the broker protocol; this package is the only home of confluent_kafka.

A module for each thing a client is configured for: `clients` (what all share, and what their errors mean),
`consumers`, `producers`, and `cluster`, which makes them and knows the topics.
"""

from __future__ import annotations

from penstock.runtime.kafka.cluster import KafkaBroker

__all__ = ["KafkaBroker"]
