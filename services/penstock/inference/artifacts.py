"""Artifacts on disk, by digest: what was read from the log once is there after a restart, all of it or none.

A file is named by the sha256 of what is in it. It is written beside its place, flushed to the disk and then
renamed, so another process, or this one after a crash, finds all of it or nothing; several replicas may share
a folder. What is read is hashed again, since disks and people change files. It is a cache: where it cannot be
read or written, artifacts come from the log as before.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from penstock.onnx import digest_of
from penstock.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
# A digest comes from the log: only what is one may become a part of a path.
_PART: Final = ".part"
_ABANDONED: Final = 3600.0
"""Seconds after which what was never renamed is somebody's who has died."""


class Artifacts:
    """A folder of artifacts; any thread may call, and other processes may use the same folder.

    Args:
        folder: made where it is not there.
        most: bytes of all of them; those that were longest not read go first.

    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> artifacts = Artifacts(Path(mkdtemp()), most=1000)
    >>> artifacts.keep(digest_of(b"onnx"), b"onnx")
    >>> artifacts.find(digest_of(b"onnx"), size=4)
    b'onnx'
    """

    def __init__(self, folder: Path, *, most: int) -> None:
        self._folder = folder
        self._most = most
        self._conditions = logs.Conditions(logs.get(component="artifacts", folder=str(folder)))

    def find(self, digest: str, *, size: int) -> bytes | None:
        """The artifact, if it is here; what is there under its name and is not it goes.

        Args:
            digest: sha256, in hex.
            size: its bytes, as its manifest says: a file of another size is not even read.
        """
        path = self._path(digest)
        if path is None:
            return None
        try:
            if path.stat().st_size == size and digest_of(found := path.read_bytes()) == digest:
                os.utime(path)
                return found
            path.unlink()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._conditions.began("artifacts_unreadable", why=str(error))
            return None
        logs.get(component="artifacts").warning("artifact_damaged", digest=digest)
        return None

    def keep(self, digest: str, artifact: bytes) -> None:
        """Write it down, unless it is not what its digest says; then make room."""
        path = self._path(digest)
        if path is None or len(artifact) > self._most or digest_of(artifact) != digest:
            return
        part = self._folder / f".{digest}.{uuid4().hex}{_PART}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _write(part, artifact)
            part.replace(path)
            _flush(self._folder)
            self._make_room(path)
        except OSError as error:
            self._conditions.began("artifacts_unwritable", why=str(error))
            with suppress(OSError):
                part.unlink()
        else:
            self._conditions.ended("artifacts_unwritable")

    def _path(self, digest: str) -> Path | None:
        return self._folder / f"{digest}.onnx" if _DIGEST.fullmatch(digest) else None

    def _make_room(self, newest: Path) -> None:
        room = self._most - newest.stat().st_size
        others = sorted((used, size, path) for used, size, path in self._files() if path != newest)
        for used, size, path in reversed(others):
            abandoned = path.suffix == _PART and used < time.time() - _ABANDONED
            room -= 0 if path.suffix == _PART else size
            if room < 0 or abandoned:
                path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """When each was used last, its bytes, and where it is; what somebody takes away meanwhile is none."""
        for path in self._folder.iterdir():
            if path.suffix in {".onnx", _PART}:
                with suppress(FileNotFoundError):
                    about = path.stat()
                    yield about.st_mtime, about.st_size, path


def _write(path: Path, body: bytes) -> None:
    with path.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    """The rename itself, too, is to outlive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
