"""The cache on disk: one RocksDB for all places of a process.

Keys begin with a kind and eight bytes for the place, and are ordered as bytes are:

    n place                  the note: how far the place is known, in which format
    c place id               a case
    q place queue time id    a place in a queue, nothing in it: what is due is a range of keys

and, in a family of their own, since they are large and come in the order of their keys, so that RocksDB need
not write them again whenever it sorts the others:

    p place offset           the record of a prediction

A transaction's changes are staged in dictionaries and become one atomic write in `adopt`. What a crash leaves
is therefore some earlier state with the note that fits it. Memory is bounded by the block cache and the write
buffers, whatever waits; what was decided long ago lies on disk and is not looked at.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NoReturn

import orjson
from rocksdict import (
    BlockBasedIndexType,
    BlockBasedOptions,
    Cache,
    ColumnFamily,
    DBCompressionType,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
)

from penstock.ingest.store.packing import FORMAT
from penstock.ingest.store.shelves import Note, Place
from penstock.ingest.store.staging import CASE, QUEUE, RECORD, RocksShelf
from penstock.runtime import logs
from penstock.runtime.errors import Unavailable

_NOTE: Final = b"n"
_RECORDS: Final = "records"
_MEGABYTE: Final = 1 << 20
_TEMPORARY: Final = "penstock-join-"


class Rocks:
    """The cache of one process.

    Args:
        folder: its own; made if need be. None for a temporary one, which goes with the process.
        megabytes: of memory for block cache and write buffers together.

    Raises:
        Unavailable: another process has the folder, or it was found damaged and was thrown away; what is
            asked for next begins with an empty one.
    """

    def __init__(self, folder: Path | None, *, megabytes: int = 128) -> None:
        self._folder = folder
        self._megabytes = megabytes
        self._temporary: Path | None = None
        self._opened: _Opened | None = None
        self._shelves: dict[Place, RocksShelf] = {}
        self._log = logs.get()

    def begin(self) -> None:
        self._shelves = {}

    def note(self, place: Place) -> Note | None:
        data = self.read([_NOTE + _key(place)])[0]
        if data is None:
            return None
        said = orjson.loads(data)
        if said.pop("format") != FORMAT:
            self._log.info("cache_discarded", **place._asdict(), why="it is in another format")
            self.discard(place)
            return None
        return Note(**{**said, "seen": tuple(said["seen"])})

    def shelf(self, place: Place) -> RocksShelf:
        if place not in self._shelves:
            self._shelves[place] = RocksShelf(self, _key(place))
        return self._shelves[place]

    def adopt(self, notes: Mapping[Place, Note]) -> None:
        batch = WriteBatch(raw_mode=True)
        with self._whole():
            records = _Records(batch, self._db().handle)
        for shelf in self._shelves.values():
            shelf.flush(batch, records)
        for place, note in notes.items():
            batch.put(_NOTE + _key(place), orjson.dumps({"format": FORMAT, **asdict(note)}))
        self._write(batch)

    def discard(self, place: Place) -> None:
        key = _key(place)
        batch = WriteBatch(raw_mode=True)
        batch.delete(_NOTE + key)
        with self._whole():
            records = _Records(batch, self._db().handle)
        for kind, its in ((CASE, batch), (QUEUE, batch), (RECORD, records)):
            its.delete_range(kind + key, kind + key + b"\xff" * 9)  # no id has such a byte, nor an offset
        self._write(batch)

    def close(self) -> None:
        self._shelves = {}
        if self._opened is not None:
            self._opened.close()
            self._opened = None
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of these keys."""
        with self._whole():
            found: Any = self._db().main.get(list(keys))
        return list(found)

    def records(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The records of predictions under these keys."""
        with self._whole():
            found: Any = self._db().records.get(list(keys))
        return list(found)

    def scan(self, first: bytes, before: bytes, most: int) -> list[bytes]:
        """The first keys of a range."""
        options = ReadOptions()
        options.set_iterate_upper_bound(before)
        keys: list[bytes] = []
        with self._whole():
            each = self._db().main.iter(options)  # it holds the database, so it must not outlive this call
            each.seek(first)
            while len(keys) < most and each.valid():
                keys.append(each.key())
                each.next()
            each.status()
        return keys

    def damaged(self, why: str) -> NoReturn:
        self._lost(ValueError(why))

    def _write(self, batch: WriteBatch) -> None:
        with self._whole():
            self._db().main.write(batch)

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            yield
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - rocksdict has no type of its own for what RocksDB says
            self._lost(error)

    def _db(self) -> _Opened:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _open(self) -> _Opened:
        where = self._where()
        try:
            where.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"{where} cannot be made for the join's cache: {error.strerror}") from error
        try:
            return _Opened(where, self._megabytes)
        except Exception as error:
            if "/LOCK" in str(error):
                raise Unavailable(f"{where} is in use by another process: {error}") from error
            self._lost(error)

    def _lost(self, error: Exception) -> NoReturn:
        """A cache that cannot be read or written is worth nothing: the log has it all."""
        where = self._where()
        self._log.error("cache_lost", folder=str(where), why=str(error))
        with contextlib.suppress(Exception):
            self.close()
        self._opened = None
        shutil.rmtree(where, ignore_errors=True)
        raise Unavailable(f"the cache in {where} was lost and is built anew: {error}") from error

    def _where(self) -> Path:
        if self._folder is not None:
            return self._folder
        if self._temporary is None:
            _sweep()
            self._temporary = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}{os.getpid()}-"))
        return self._temporary


class _Opened:
    """The database and its two families."""

    def __init__(self, where: Path, megabytes: int) -> None:
        cache = Cache(megabytes * _MEGABYTE // 2)
        families = {_RECORDS: _records(megabytes, cache)}
        self.main = Rdict(str(where), _cases(megabytes, cache), column_families=families)
        self.records = self.main.get_column_family(_RECORDS)
        self.handle = self.main.get_column_family_handle(_RECORDS)

    def close(self) -> None:
        """The lock on the folder is held by each of the three."""
        del self.handle
        self.records.close()
        self.main.close()


class _Records:
    """The part of a write that is about records."""

    def __init__(self, batch: WriteBatch, family: ColumnFamily) -> None:
        self._batch = batch
        self._family = family

    def put(self, key: bytes, value: bytes) -> None:
        self._batch.put(key, value, self._family)

    def delete_range(self, begin: bytes, end: bytes) -> None:
        self._batch.delete_range(begin, end, self._family)


def _key(place: Place) -> bytes:
    """Eight bytes for a place, so that a key does not grow with the name of its pipeline."""
    return hashlib.blake2b(f"{place.pipeline}/{place.partition}".encode(), digest_size=8).digest()


def _cases(megabytes: int, cache: Cache) -> Options:
    """Small values, asked for at random; most ids that are asked for are new."""
    tables = _tables(cache)
    tables.set_bloom_filter(10, False)
    tables.set_partition_filters(True)
    options = _options(megabytes, tables)
    options.set_compression_type(DBCompressionType.none())
    return options


def _records(megabytes: int, cache: Cache) -> Options:
    """Large values, which are always there when they are asked for."""
    options = _options(megabytes, _tables(cache))
    options.set_compression_type(DBCompressionType.lz4())
    return options


def _tables(cache: Cache) -> BlockBasedOptions:
    tables = BlockBasedOptions()
    tables.set_format_version(5)
    tables.set_block_cache(cache)
    # Indexes and filters grow with the data: they have their place in the cache, in parts as small as blocks,
    # as a whole one would push out all the others whenever it is needed.
    tables.set_cache_index_and_filter_blocks(True)
    tables.set_pin_l0_filter_and_index_blocks_in_cache(True)
    tables.set_index_type(BlockBasedIndexType.two_level_index_search())
    tables.set_pin_top_level_index_and_filter(True)
    return tables


def _options(megabytes: int, tables: BlockBasedOptions) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    options.set_block_based_table_factory(tables)
    options.set_db_write_buffer_size(megabytes * _MEGABYTE // 2)
    options.set_write_buffer_size(megabytes * _MEGABYTE // 8)
    options.set_max_background_jobs(2)
    options.set_max_open_files(256)
    options.set_keep_log_file_num(2)
    options.set_stats_dump_period_sec(0)
    return options


def _sweep() -> None:
    """Remove what processes that were killed have left of their temporary folders."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_TEMPORARY}*-*"):
        owner = folder.name.removeprefix(_TEMPORARY).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)
