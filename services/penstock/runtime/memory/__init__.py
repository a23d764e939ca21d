"""A broker in this process: the same log, groups and transactions as Kafka's, without the network.

It ships as part of the product, for tests, scenarios and backtests. It behaves as the contract suite demands,
transaction markers that take an offset and rebalances included.
"""

from __future__ import annotations

from penstock.runtime.memory.clients import MemoryProducer, MemoryTransactional
from penstock.runtime.memory.cluster import MemoryBroker
from penstock.runtime.memory.desk import Desk

__all__ = ["Desk", "MemoryBroker", "MemoryProducer", "MemoryTransactional"]
