"""Blobs go into chunks and come out whole, or not at all."""

from __future__ import annotations

import hashlib

import pytest

from penstock.kernel.errors import Invalid
from penstock.runtime.blobs import CHUNK, chunks, key_of, read_blob
from penstock.runtime.broker import Message, Topic, TopicPartition
from penstock.runtime.errors import Unavailable
from penstock.runtime.memory import MemoryBroker

TOPIC = "penstock.chunks"
BLOB = bytes(range(256)) * (5 * CHUNK // 512) + b"!"  # two chunks and a half


def digest_of(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()


def written(*blobs: bytes) -> MemoryBroker:
    broker = MemoryBroker(now=lambda: 0)
    broker.create([Topic(name=TOPIC, partitions=3)])
    for blob in blobs:
        for message in chunks(TOPIC, blob, partitions=3):
            broker.append(message)
    return broker


def read(broker: MemoryBroker, blob: bytes = BLOB, *, size: int | None = None) -> bytes:
    return read_blob(
        broker, TOPIC, digest_of(blob), size=len(blob) if size is None else size, largest=4 * CHUNK, seconds=0
    )


@pytest.mark.parametrize("blob", [b"x", bytes(CHUNK), bytes(CHUNK + 1), BLOB])
def test_a_blob_comes_out_as_it_went_in(blob: bytes) -> None:
    assert read(written(b"another", blob, bytes(7)), blob) == blob


def test_chunks_are_small_and_lie_on_one_partition() -> None:
    messages = list(chunks(TOPIC, BLOB, partitions=3))
    assert [len(message.value or b"") for message in messages] == [CHUNK, CHUNK, CHUNK // 2 + 1]
    assert len({message.partition for message in messages}) == 1
    assert [dict(message.headers)["total"] for message in messages] == [b"3"] * 3


def test_a_blob_written_twice_survives_compaction() -> None:
    broker = written(BLOB, BLOB)
    broker.compact(TOPIC)
    assert len(broker.records(TOPIC)) == 3
    assert read(broker) == BLOB


def test_a_blob_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="lacks chunk 0 of 3"):
        read(written(b"another"))


def test_a_chunk_that_was_removed_is_missed() -> None:
    broker = written(BLOB)
    partition = broker.records(TOPIC)[0].partition
    broker.append(Message(TOPIC, None, key_of(digest_of(BLOB), 1), (), partition))
    with pytest.raises(Unavailable, match="lacks chunk 1 of 3"):
        read(broker)


def test_a_chunk_lost_to_retention_is_missed() -> None:
    broker = written(BLOB)
    first = broker.records(TOPIC)[0]
    broker.expire(TopicPartition(TOPIC, first.partition), first.offset + 1)
    with pytest.raises(Unavailable, match="lacks chunk 0 of 3"):
        read(broker)


def test_a_chunk_that_was_exchanged_is_refused() -> None:
    broker = written(BLOB)
    record = broker.records(TOPIC)[0]
    broker.append(Message(TOPIC, b"other", record.key, record.headers, record.partition))
    with pytest.raises(Invalid, match="is not what its header says"):
        read(broker)


def test_other_bytes_under_the_same_name_are_refused() -> None:
    broker = written()
    [other] = chunks(TOPIC, b"other", partitions=3)
    [mine] = chunks(TOPIC, b"mine!", partitions=3)
    broker.append(other._replace(key=mine.key, partition=mine.partition))
    with pytest.raises(Invalid, match="make another one"):
        read(broker, b"mine!")


@pytest.mark.parametrize("size", [0, -1, 4 * CHUNK + 1])
def test_a_size_beyond_the_cap_is_refused_before_anything_is_read(size: int) -> None:
    with pytest.raises(Invalid, match="at most"):
        read(written(), size=size)


def test_a_size_that_is_not_the_blobs_is_refused() -> None:
    with pytest.raises(Invalid, match="make another one"):
        read(written(BLOB), size=len(BLOB) - 1)


def test_without_the_topic_it_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="no topic"):
        read(MemoryBroker(now=lambda: 0))
