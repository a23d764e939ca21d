"""The one error of the embedded broker that a person can do something about."""

from __future__ import annotations


class BrokerError(Exception):
    """Kafka cannot run as asked; the message is one line and says what to change."""
