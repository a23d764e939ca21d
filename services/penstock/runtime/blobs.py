"""Bytes too large for one record, cut into chunks on a compacted topic and put together again.

A blob is named by its sha256. All its chunks lie on the one partition that its name hashes to, each under
the key ``<sha256>/<index>`` with headers that say which of how many it is and what its own sha256 is.
Writing the same blob twice changes nothing.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Final

from penstock.kernel.errors import Invalid
from penstock.kernel.hashing import partition_of
from penstock.runtime.broker import Message, TopicPartition
from penstock.runtime.errors import Unavailable
from penstock.runtime.fold import read_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock.runtime.broker import Broker, Record

CHUNK: Final = 512 * 1024
"""Bytes of a chunk: below every broker's limit for a record."""
SECONDS: Final = 60.0
"""How long reading a blob may take before it counts as unavailable."""


def chunks(topic: str, blob: bytes, *, partitions: int) -> Iterator[Message]:
    """The records of a blob; `partitions` is the topic's count.

    >>> [message] = chunks("penstock.chunks", b"hello", partitions=3)
    >>> message.key[-7:], message.value
    (b'/000000', b'hello')
    """
    digest = hashlib.sha256(blob).hexdigest()
    total = _count(len(blob))
    for index in range(total):
        part = blob[index * CHUNK : (index + 1) * CHUNK]
        headers = (
            ("chunk-sha256", hashlib.sha256(part).hexdigest().encode()),
            ("index", str(index).encode()),
            ("total", str(total).encode()),
        )
        yield Message(topic, part, key_of(digest, index), headers, partition_of(digest.encode(), partitions))


def key_of(digest: str, index: int) -> bytes:
    """The key of one chunk, as needed to remove it by a tombstone."""
    return f"{digest}/{index:06d}".encode()


def read_blob(
    broker: Broker, topic: str, digest: str, *, size: int, largest: int, seconds: float = SECONDS
) -> bytes:
    """The blob of that name.

    Args:
        broker: it is read by a reader of its own, so this may run in any thread.
        topic: full name of the topic of chunks.
        digest: sha256 of the blob, in hex.
        size: its bytes, as its manifest says.
        largest: nothing above this is read at all.
        seconds: how long it may take.

    Raises:
        Invalid: too large, or other bytes than the name promises.
        Unavailable: a chunk is not there, or not in time.
    """
    if not 0 < size <= largest:
        raise Invalid(f"blob {digest[:12]} has {size} bytes, at most {largest} are read", reason="too_large")
    partitions = broker.topics().get(topic)
    if partitions is None:
        raise Unavailable(f"there is no topic {topic}")
    where = TopicPartition(topic, partition_of(digest.encode(), partitions))
    wanted = {key_of(digest, index): index for index in range(_count(size))}
    parts: dict[int, bytes] = {}
    until = time.monotonic() + seconds
    for records in read_range(broker, broker.ends([where])):
        for record in records:
            index = wanted.get(record.key or b"")
            if index is not None:
                _take(parts, index, record)
        if len(parts) == len(wanted) or time.monotonic() > until:
            break
    if absent := [index for index in wanted.values() if index not in parts]:
        raise Unavailable(f"blob {digest[:12]} lacks chunk {absent[0]} of {len(wanted)}")
    blob = b"".join(parts[index] for index in range(len(wanted)))
    if len(blob) != size or hashlib.sha256(blob).hexdigest() != digest:
        raise Invalid(f"the chunks of blob {digest[:12]} make another one", reason="digest")
    return blob


def _take(parts: dict[int, bytes], index: int, record: Record) -> None:
    """The last record of a key counts; a tombstone takes the chunk away."""
    if record.value is None:
        parts.pop(index, None)
        return
    promised = dict(record.headers).get("chunk-sha256", b"").decode("ascii", "replace")
    if hashlib.sha256(record.value).hexdigest() != promised:
        raise Invalid(f"the chunk at offset {record.offset} is not what its header says", reason="digest")
    parts[index] = record.value


def _count(size: int) -> int:
    return -(-size // CHUNK)
