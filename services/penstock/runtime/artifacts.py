"""Large binaries through Kafka: chunks on one partition of a compacted topic, verified each and whole.

The chunks are written before the record that names their digest, in the same transaction, so whoever reads
that record finds them. A reader checks the size it was promised against the cap before it allocates anything.
"""

from __future__ import annotations

import hashlib
import time
from typing import Final

from penstock.kernel.errors import Invalid
from penstock.runtime.broker import Broker, Message, Record, TopicPartition
from penstock.runtime.fold import read_range

CHUNK: Final = 512 * 1024
LARGEST: Final = 64 * 1024 * 1024
_SHA: Final = "chunk-sha256"
_INDEX: Final = "index"
_TOTAL: Final = "total"


class NotThere(Exception):  # noqa: N818 - says what is so
    """Not all chunks of an artifact could be read: keep what you have and ask again later."""


def chunks(artifact: bytes, *, topic: str, partition: int) -> list[Message]:
    """The records that carry an artifact.

    >>> [message.key.endswith(b"/000000") for message in chunks(b"model", topic="chunks", partition=0)]
    [True]
    """
    digest = hashlib.sha256(artifact).hexdigest()
    pieces = [artifact[start : start + CHUNK] for start in range(0, len(artifact), CHUNK)]
    return [
        Message(
            topic,
            piece,
            f"{digest}/{index:06d}".encode(),
            (
                (_SHA, hashlib.sha256(piece).hexdigest().encode()),
                (_INDEX, str(index).encode()),
                (_TOTAL, str(len(pieces)).encode()),
            ),
            partition,
        )
        for index, piece in enumerate(pieces)
    ]


def fetch(broker: Broker, where: TopicPartition, *, digest: str, size: int, seconds: float = 30.0) -> bytes:
    """Read an artifact from the partition its chunks are on.

    Args:
        broker: the cluster.
        where: the partition of the chunks.
        digest: sha256 of the whole, hex.
        size: bytes, as the manifest promised.
        seconds: how long to try.

    Raises:
        Invalid: too large, or other bytes than were promised.
        NotThere: chunks are missing, or could not be read in time.
    """
    if not 0 < size <= LARGEST:
        raise Invalid(f"artifact of {size} bytes, at most {LARGEST} are read", reason="too_large")
    deadline = time.monotonic() + seconds
    pieces: dict[int, bytes] = {}
    prefix = digest.encode() + b"/"
    for records in read_range(broker, broker.ends([where]), seconds=0.5):
        for record in records:
            if record.key is not None and record.key.startswith(prefix):
                pieces[int(record.key[len(prefix) :])] = _verified(record)
        if time.monotonic() > deadline:
            break
    artifact = b"".join(piece for _, piece in sorted(pieces.items()))
    if len(artifact) < size:
        raise NotThere(f"{len(artifact)} of {size} bytes of artifact {digest[:12]} are there")
    if len(artifact) != size or hashlib.sha256(artifact).hexdigest() != digest:
        raise Invalid(f"artifact {digest[:12]} is not what its manifest says", reason="digest")
    return artifact


def _verified(record: Record) -> bytes:
    piece = record.value or b""
    if dict(record.headers).get(_SHA) != hashlib.sha256(piece).hexdigest().encode():
        raise Invalid(f"chunk at offset {record.offset} is damaged", reason="digest")
    return piece
