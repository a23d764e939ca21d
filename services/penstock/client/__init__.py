"""A client of Penstock: rows as dictionaries in, predictions out.

    from penstock.client import Client

    with Client("127.0.0.1:8001", pipeline="churn") as client:
        prediction = client.predict({"age": 41, "plan": "pro"}, id="web-1")
        prediction.score, prediction.version

Any client of the Open Inference Protocol will do; this one knows which tensor each Python value is, asks
again where that helps, says what was wrong in words, and is typed. `AsyncClient` is the same for asyncio.
Neither needs more than grpc and protobuf, and both import them when the first client is made.
"""

from __future__ import annotations

from penstock.client.aio import AsyncClient
from penstock.client.connection import Tls
from penstock.client.errors import PenstockError, Violation
from penstock.client.results import Explanation, Inputs, Prediction
from penstock.client.retries import ONCE, Retry
from penstock.client.rows import Ask, Columns, Row, Value
from penstock.client.sync import Client

__all__ = [
    "ONCE",
    "Ask",
    "AsyncClient",
    "Client",
    "Columns",
    "Explanation",
    "Inputs",
    "PenstockError",
    "Prediction",
    "Retry",
    "Row",
    "Tls",
    "Value",
    "Violation",
]
