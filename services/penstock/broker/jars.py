"""Apache Kafka's jars: which they are (the lock), where they are kept (the cache), that they are genuine.

Steps of an install:
    1. look: a jar counts as present when its size and sha256 are those of the lock
    2. lock: one process of the machine installs, the others wait and then find everything present
    3. fetch into a folder of this process's own
    4. verify, then rename into the cache: a jar is there whole or not at all, whenever the process dies
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.broker.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Done = Callable[["Jar", Path], None]
    Fetch = Callable[[Sequence["Jar"], Path, Done], None]

KAFKA_VERSION = "4.3.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Jar:
    """One line of the lock: a Maven coordinate, and the only content that is accepted for it.

    Args:
        group: and `artifact`, `version`: of the coordinate.
        sha256: of the content.
        size: of the content, in bytes.
        packaging: what ends the file's name.
        classifier: which of an artifact's files it is, where there are several.
    """

    group: str
    artifact: str
    version: str
    sha256: str
    size: int
    packaging: str = "jar"
    classifier: str = ""

    @property
    def filename(self) -> str:
        which = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{which}.{self.packaging}"


def read_lock(text: str) -> tuple[Jar, ...]:
    r"""The jars of a lock: lines of ``group:artifact:version sha256 bytes``, ``#`` starts a comment.

    What is no jar has its packaging and classifier behind the version.

    >>> [jar, other] = read_lock("# one\norg.yaml:snakeyaml:2.5 e6682acf 340015\norg.x:y:1:tar.gz:all 0f 7")
    >>> jar.filename, jar.size, other.filename
    ('snakeyaml-2.5.jar', 340015, 'y-1-all.tar.gz')
    """
    jars = []
    for line in text.splitlines():
        content = line.partition("#")[0].split()
        if content:
            coordinate, sha256, size = content
            group, artifact, version, *kind = coordinate.split(":")
            packaging, classifier = kind or ("jar", "")
            jars.append(
                Jar(
                    group=group,
                    artifact=artifact,
                    version=version,
                    sha256=sha256,
                    size=int(size),
                    packaging=packaging,
                    classifier=classifier,
                )
            )
    return tuple(jars)


def locked_jars() -> tuple[Jar, ...]:
    """The jars of Apache Kafka and of its logging, as committed beside this module."""
    return read_lock(resources.files("penstock.broker").joinpath("kafka-jars.lock").read_text())


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where downloads are kept: ``PENSTOCK_CACHE``, else ``XDG_CACHE_HOME``/penstock, else ~/.cache/penstock.

    >>> str(cache_folder({"PENSTOCK_CACHE": "/srv/cache", "XDG_CACHE_HOME": "/x"}))
    '/srv/cache'
    >>> str(cache_folder({"XDG_CACHE_HOME": "/x"}))
    '/x/penstock'
    """
    own = environ.get("PENSTOCK_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    shared = environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "penstock"


def matches(jar: Jar, path: Path) -> bool:
    """Whether a file is the jar: its size first (cheap), then its sha256 (0.1 s for all 46 of them)."""
    try:
        with path.open("rb") as file:
            right_size = os.fstat(file.fileno()).st_size == jar.size
            return right_size and hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False


def install(jars: Sequence[Jar], cache: Path, fetch: Fetch) -> list[Path]:
    """Put the jars into the cache, unless they are there, and return their paths in the order of the lock.

    Args:
        jars: what must be there.
        cache: the folder of `cache_folder`; made when absent.
        fetch: ``fetch(jars, folder, done)`` downloads into the folder and calls ``done(jar, path)``, from any
            thread, for each finished file.

    Raises:
        BrokerError: the cache cannot be written, there is no network, or a file is not the locked one.
    """
    folder = cache / "jars"
    paths = [folder / jar.filename for jar in jars]
    try:
        if not _missing(jars, folder):  # 1. look: also where the cache is read-only, or in an image
            return paths
        folder.mkdir(parents=True, exist_ok=True)
        with _exclusive(folder / "install.lock"):  # 2. lock
            missing = _missing(jars, folder)
            if missing:
                with tempfile.TemporaryDirectory(prefix="fetching-", dir=folder) as scratch:
                    fetch(missing, Path(scratch), lambda jar, path: _adopt(jar, path, folder))  # 3. fetch
    except OSError as error:
        raise BrokerError(
            f"cache folder {cache}: {error.strerror or error}; PENSTOCK_CACHE sets another"
        ) from error
    return paths


def _missing(jars: Sequence[Jar], folder: Path) -> list[Jar]:
    return [jar for jar in jars if not matches(jar, folder / jar.filename)]


def _adopt(jar: Jar, path: Path, folder: Path) -> None:
    if not matches(jar, path):  # 4. verify
        got = f"{path.stat().st_size} bytes, sha256 {_sha256(path)[:16]}…"
        locked = f"{jar.size} bytes, sha256 {jar.sha256[:16]}…"
        raise BrokerError(f"refused {jar.filename}: downloaded {got}, but locked are {locked}")
    path.replace(folder / jar.filename)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Hold a lock of the machine's; the kernel lets it go when this process ends, however it ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another process is fetching what this one needs; waiting for it", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
