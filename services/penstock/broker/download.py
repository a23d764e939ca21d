"""Download jars with jgo, eight at a time, telling a person how far it is. The only home of jgo.

jgo fetches single files by coordinate. It is never asked to resolve dependencies (its own resolver picks
other versions than Maven does): the lock says what there is to fetch.
"""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from penstock.broker.errors import BrokerError
from penstock.broker.jars import KAFKA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from jgo.maven import MavenContext

    from penstock.broker.jars import Jar

THREADS = 8  # 46 jars, 44 MB: 7 s with 8, no faster with 16
TRIES = 3
TIMEOUT = 20  # seconds to connect, and between two pieces of a file
MEGABYTE = 1_000_000


class Progress(Protocol):
    """Told of each piece of a file, from any thread."""

    def advance(self, size: int) -> None: ...


def download(
    jars: Sequence[Jar],
    folder: Path,
    done: Callable[[Jar, Path], None],
    *,
    what: str = f"Apache Kafka {KAFKA_VERSION}",
    repositories: Mapping[str, str] | None = None,
) -> None:
    """Fetch jars into a folder and hand each to ``done`` as soon as it is whole; progress goes to stderr.

    Args:
        jars: what to fetch.
        folder: an empty folder for the files while they are fetched.
        done: called with each jar and its file, from the fetching threads; what it raises ends the download.
        what: they are together, for whoever waits.
        repositories: Maven repositories by name; None means Maven's own default.

    Raises:
        BrokerError: a jar could not be had after several tries.
    """
    # Imported here: it takes 0.3 s, and is needed once per machine.
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415

    total = sum(jar.size for jar in jars)
    with _progress(f"{what}, once per machine", total) as progress:

        @contextmanager
        def follow(_filename: str, _size: int) -> Iterator[Callable[[int], None]]:
            yield progress.advance

        maven = MavenContext(
            resolver=PythonResolver(progress_callback=follow),
            repo_cache=folder,
            remote_repos=None if repositories is None else dict(repositories),
            timeout=TIMEOUT,
        )

        def deliver(jar: Jar) -> None:
            done(jar, _fetch(maven, jar, what))

        with ThreadPoolExecutor(THREADS, thread_name_prefix="jars") as pool:
            pending = [pool.submit(deliver, jar) for jar in jars]
            try:
                for future in as_completed(pending):
                    future.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _fetch(maven: MavenContext, jar: Jar, what: str) -> Path:
    version = maven.project(jar.group, jar.artifact).at_version(jar.version)
    artifact = version.artifact(classifier=jar.classifier, packaging=jar.packaging)
    for attempt in range(1, TRIES + 1):
        try:
            return artifact.resolve()
        # The errors of requests are OSErrors; "not found" is a RuntimeError of jgo's.
        except (OSError, RuntimeError) as error:
            if artifact.cached_path is not None:
                artifact.cached_path.unlink(missing_ok=True)  # half a file would count as a whole one
            if attempt == TRIES:
                told = f"{what} could not be downloaded ({jar.filename}: {_cause(error)})"
                advice = "it is fetched once per machine: connect to the network and try again"
                raise BrokerError(f"{told}; {advice}") from error
            time.sleep(0.3 * attempt)
    raise AssertionError  # the last attempt returned or raised


def _cause(error: Exception) -> str:
    """The kind of trouble in a few words: what requests says is long, and names hosts."""
    if isinstance(error, RuntimeError):
        return "not found there, or refused"
    kind = type(error).__name__  # by name: requests is jgo's dependency, not ours
    if "Timeout" in kind:
        return "no answer in time"
    return "no connection" if kind in {"ConnectionError", "ProxyError", "SSLError"} else "broken off"


@contextmanager
def _progress(title: str, total: int) -> Iterator[Progress]:
    if sys.stderr.isatty():
        with _bar(title, total) as bar:
            yield bar
    else:
        yield _Lines(title, total)


@contextmanager
def _bar(title: str, total: int) -> Iterator[Progress]:
    # Imported here: a person at a terminal is the only one to see it.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(title, total=total)

        class Bar:
            def advance(self, size: int) -> None:
                bars.advance(task, size)

        yield Bar()


class _Lines:
    """One line for each fifth of the whole, where nobody can watch a bar."""

    def __init__(self, title: str, total: int) -> None:
        self._title = title
        self._total = total
        self._seen = 0
        self._fifths = 0
        self._lock = threading.Lock()
        print(f"{title}: fetching {total / MEGABYTE:.0f} MB", file=sys.stderr)

    def advance(self, size: int) -> None:
        with self._lock:
            self._seen += size
            fifths = self._seen * 5 // self._total if self._total else 5
            if fifths > self._fifths:
                self._fifths = fifths
                print(
                    f"{self._title}: {self._seen / MEGABYTE:.0f} of {self._total / MEGABYTE:.0f} MB",
                    file=sys.stderr,
                )
