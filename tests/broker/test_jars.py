"""The jars of the embedded broker: genuine, whole, fetched once, and clear words where that cannot be."""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import threading
import warnings
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from penstock.broker.download import download
from penstock.broker.errors import BrokerError
from penstock.broker.jars import Jar, install, locked_jars
from penstock.broker.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

CONTENT = {"clients": b"genuine clients" * 1000, "storage": b"genuine storage" * 500}


def jar(artifact: str) -> Jar:
    content = CONTENT[artifact]
    digest = hashlib.sha256(content).hexdigest()
    return Jar(group="org.example", artifact=artifact, version="1.0", sha256=digest, size=len(content))


JARS = [jar("clients"), jar("storage")]


class Shop:
    """Stands for the network: counts what is fetched, and may sell something else or break down."""

    def __init__(self, content: dict[str, bytes] | None = None, breaks_after: int | None = None) -> None:
        self.content = CONTENT if content is None else content
        self.breaks_after = breaks_after
        self.sold: list[str] = []

    def __call__(self, jars: Sequence[Jar], folder: Path, done: Callable[[Jar, Path], None]) -> None:
        for wanted in jars:
            if len(self.sold) == self.breaks_after:
                raise BrokerError("the network went away")
            path = folder / wanted.filename
            path.write_bytes(self.content[wanted.artifact])
            self.sold.append(wanted.artifact)
            done(wanted, path)


def test_the_lock_names_kafka_and_its_logging_by_sha256() -> None:
    jars = locked_jars()

    assert len(jars) == 46
    assert {"kafka_2.13-4.3.1.jar", "kafka-clients-4.3.1.jar", "log4j-core-2.25.1.jar"} <= {
        j.filename for j in jars
    }
    assert all(len(bytes.fromhex(j.sha256)) == 32 for j in jars)
    assert 44_000_000 < sum(j.size for j in jars) < 46_000_000


def test_jars_are_fetched_once(tmp_path: Path) -> None:
    shop = Shop()

    first = install(JARS, tmp_path, shop)
    second = install(JARS, tmp_path, shop)

    assert first == second == [tmp_path / "jars" / j.filename for j in JARS]
    assert [path.read_bytes() for path in first] == [CONTENT["clients"], CONTENT["storage"]]
    assert shop.sold == ["clients", "storage"]


@pytest.mark.parametrize("forged", [b"forged" * 2500, b"shorter"], ids=["same size", "other size"])
def test_a_jar_that_is_not_the_locked_one_is_refused(tmp_path: Path, forged: bytes) -> None:
    shop = Shop({**CONTENT, "clients": forged})
    assert len(b"forged" * 2500) == JARS[0].size

    with pytest.raises(
        BrokerError, match=r"refused clients-1\.0\.jar: downloaded \d+ bytes, sha256 .*locked"
    ):
        install(JARS, tmp_path, shop)

    assert not (tmp_path / "jars" / "clients-1.0.jar").exists()


def test_a_cached_jar_that_has_changed_is_fetched_again(tmp_path: Path) -> None:
    [clients, _] = install(JARS, tmp_path, Shop())
    clients.write_bytes(b"x" * JARS[0].size)
    shop = Shop()

    install(JARS, tmp_path, shop)

    assert shop.sold == ["clients"]
    assert clients.read_bytes() == CONTENT["clients"]


def test_a_download_that_breaks_off_is_taken_up_where_it_ended(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="the network went away"):
        install(JARS, tmp_path, Shop(breaks_after=1))
    shop = Shop()

    install(JARS, tmp_path, shop)

    assert shop.sold == ["storage"]
    assert sorted(p.name for p in (tmp_path / "jars").iterdir()) == [
        "clients-1.0.jar",
        "install.lock",
        "storage-1.0.jar",
    ]


def _install_and_count(cache: Path, barrier: Any, sold: Any) -> None:
    shop = Shop()
    barrier.wait()
    install(JARS, cache, shop)
    sold.put(len(shop.sold))


def test_processes_that_install_at_once_fetch_each_jar_once(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    barrier, sold = spawn.Barrier(4), spawn.Queue()
    processes = [spawn.Process(target=_install_and_count, args=(tmp_path, barrier, sold)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert sorted(sold.get(timeout=10) for _ in processes) == [0, 0, 0, 2]


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(
        BrokerError, match=r"cache folder .*file/cache: .*; PENSTOCK_CACHE sets another"
    ) as caught:
        install(JARS, tmp_path / "file" / "cache", Shop())

    assert "\n" not in str(caught.value)


@contextmanager
def maven_repository(folder: Path) -> Iterator[str]:
    """A Maven repository over HTTP that holds the two jars."""
    for j in JARS:
        place = folder / "org/example" / j.artifact / j.version
        place.mkdir(parents=True)
        (place / j.filename).write_bytes(CONTENT[j.artifact])

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_the_download_tells_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with maven_repository(tmp_path / "repository") as url:
        paths = install(
            JARS,
            tmp_path / "cache",
            lambda jars, folder, done: download(jars, folder, done, repositories={"near": url}),
        )

    assert [path.read_bytes() for path in paths] == [CONTENT["clients"], CONTENT["storage"]]
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0] == "Apache Kafka 4.3.1, once per machine: fetching 0 MB"
    assert 2 <= len(lines) <= 6


def fetch_from(url: str, tmp_path: Path, jars: Sequence[Jar]) -> str:
    with pytest.raises(BrokerError) as caught:
        install(
            jars,
            tmp_path / "cache",
            lambda jars, folder, done: download(jars, folder, done, repositories={"near": url}),
        )
    message = str(caught.value)
    del caught
    with warnings.catch_warnings():  # jgo leaves the connection of a refused request to the collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    return message


def test_off_line_is_one_clear_line(tmp_path: Path) -> None:
    message = fetch_from(f"http://127.0.0.1:{free_port()}", tmp_path, JARS)

    assert message.startswith("Apache Kafka 4.3.1 could not be downloaded (")
    assert message.endswith(
        ": no connection); it is fetched once per machine: connect to the network and try again"
    )
    assert "\n" not in message


def test_a_jar_the_repository_lacks_is_one_clear_line(tmp_path: Path) -> None:
    absent = Jar(group="org.example", artifact="absent", version="1", sha256="0" * 64, size=1)
    with maven_repository(tmp_path / "repository") as url:
        message = fetch_from(url, tmp_path, [absent])

    assert "(absent-1.jar: not found there, or refused)" in message
    assert url not in message
