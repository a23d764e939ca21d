"""Chance is a hash: the same id gives the same answer on every replica and in every replay."""

from __future__ import annotations

import functools
import hashlib

_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Kafka's 32-bit MurmurHash2 with its own seed, as an unsigned integer.

    >>> hex(murmur2(b"21"))
    '0xc5f2f8ec'

    Source: Austin Appleby's MurmurHash2; the seed is Apache Kafka's (`org.apache.kafka.common.utils.Utils`).
    """
    m, length = 0x5BD1E995, len(data)
    h = (0x9747B28C ^ length) & _MASK
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & _MASK
        k = (k ^ k >> 24) * m & _MASK
        h = h * m & _MASK ^ k
    if tail := data[whole:]:
        h = (h ^ int.from_bytes(tail, "little")) * m & _MASK
    h = (h ^ h >> 13) * m & _MASK
    return h ^ h >> 15


@functools.lru_cache(maxsize=1 << 12)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition that Kafka's default partitioner gives a key; remembered, as an id soon comes again.

    >>> partition_of(b"UA1545-EWR-2013-01-01", 3) in range(3)
    True
    """
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def share_of(salt: str, key: str) -> float:
    """Where an id stands between 0 and 1 under a salt: it belongs to a share s when this is below s.

    A growing share only adds ids, and another salt deals them anew.

    >>> 0.0 <= share_of("candidate-7", "UA-1545") < 1.0
    True
    >>> share_of("candidate-7", "UA-1545") == share_of("candidate-7", "UA-1545")
    True
    """
    digest = hashlib.blake2b(key.encode(), digest_size=8, key=salt.encode()[:64]).digest()
    return (int.from_bytes(digest, "little") >> 11) / float(1 << 53)
