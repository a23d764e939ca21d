"""Everything as one: a broker and the services as supervised processes of this machine."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

from penstock.broker import BrokerError, prepare, wait_ready
from penstock.broker.launch import last_error
from penstock.broker.ports import HOST, is_free
from penstock.cli.address import reach
from penstock.cli.exits import Exit, Failure
from penstock.cli.process import Process
from penstock.cli.services import SERVICES
from penstock.cli.state import Running, State, read_state, remove_state, write_state
from penstock.cli.supervisor import Child, Supervisor
from penstock.runtime.settings import Settings
from penstock.runtime.topics import topics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from penstock.cli.supervisor import Log, Status

BROKER = "broker"
READY_WITHIN = 120.0
"""Seconds for the broker, and again for the services; it takes 2 and 3, but more on a busy machine."""
BROKER_STARTS = 3
"""A broker that has died so often before it was ready will not become so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run, and where."""

    folder: Path
    """For the data and the state."""
    grpc_port: int
    broker: str | None = None
    """An existing Kafka; None to run one."""
    kafka_port: int | None = None
    """Of the Kafka to run; None for a free one, remembered in the folder."""

    @property
    def grpc(self) -> str:
        return f"{HOST}:{self.grpc_port}"


class Stack:
    """Runs a plan within a ``with`` block; its state is in the folder meanwhile.

    Args:
        plan: what to run.
        log: gets the lines of all processes.
        say: told in a few words what is being waited for.
    """

    def __init__(self, plan: Plan, *, log: Log, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.bootstrap = plan.broker or ""
        self.supervisor = Supervisor(log=log, changed=self._remember)
        self._log = log
        self._say = say
        self._me = Process.of(os.getpid())

    def __enter__(self) -> Self:
        made = not self.plan.folder.exists()
        claim(self.plan.folder, self._say)
        try:
            if self.plan.kafka_port is not None and not self.plan.broker:
                _require_free(self.plan.kafka_port, "--port")
            _require_free(self.plan.grpc_port, "--grpc-port")
            self._start_broker()
            self._create_topics()
            self._start_services()
        except BaseException:
            self.__exit__()
            if made:
                _remove_empty(self.plan.folder)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.supervisor.close()
        finally:
            remove_state(self.plan.folder)

    def restarts(self) -> int:
        """How many processes have died and were started again."""
        return _restarts(self.supervisor.states())

    def _start_broker(self) -> None:
        if self.plan.broker:
            reach(self.plan.broker)
            return
        self._say("starting Kafka")
        try:
            launch = prepare(self.plan.folder / "kafka", port=self.plan.kafka_port)
            self.bootstrap = launch.bootstrap
            self.supervisor.start(Child(name=BROKER, argv=launch.argv, env=launch.env, grace=20))
            wait_ready(launch.bootstrap, READY_WITHIN, lambda: self._lives(BROKER))
        except BrokerError as error:
            cause = last_error(self.plan.folder / "kafka" / "kafka.log") if self.bootstrap else ""
            raise Failure(f"{error}: {cause}" if cause else str(error)) from error

    def _create_topics(self) -> None:
        """The topics every cluster has once: without them the services would wait."""
        from penstock.runtime.kafka import KafkaBroker  # noqa: PLC0415 - `down` needs this module, not Kafka's

        settings = Settings.read(os.environ, {"broker": self.bootstrap})
        broker = KafkaBroker(settings.broker, settings.kafka)
        try:
            broker.create(topics(settings.prefix))
        finally:
            broker.close()

    def _start_services(self) -> None:
        self._say("starting the services")
        environment = {
            **os.environ,
            "PENSTOCK_BROKER": self.bootstrap,
            "PENSTOCK_LISTEN": self.plan.grpc,
            "PENSTOCK_ARTIFACTS": os.environ.get("PENSTOCK_ARTIFACTS") or str(self.plan.folder / "artifacts"),
            "PENSTOCK_JOIN_STATE": os.environ.get("PENSTOCK_JOIN_STATE") or str(self.plan.folder / "join"),
        }
        run = (sys.executable, "-m", "penstock", "run")
        self.supervisor.start(
            *(Child(name=it.name, argv=(*run, it.name), env=environment) for it in SERVICES)
        )
        deadline = time.monotonic() + READY_WITHIN
        while not _listens(self.plan.grpc_port):
            if time.monotonic() > deadline:
                raise Failure(f"inference did not answer at {self.plan.grpc} in time", Exit.TIMEOUT)
            # Another process' listening cannot be waited for: look again when a child dies, or in a moment.
            self.supervisor.wait_until(partial(_died_since, self.restarts()), 0.05)

    def _lives(self, name: str) -> bool:
        status = self.supervisor.states().get(name)
        return status is None or status.restarts < BROKER_STARTS

    def _remember(self, states: Mapping[str, Status]) -> None:
        write_state(
            self.plan.folder,
            State(
                supervisor=self._me,
                bootstrap=self.bootstrap,
                grpc=self.plan.grpc,
                processes={
                    name: Running(process=status.process, restarts=status.restarts)
                    for name, status in states.items()
                },
            ),
        )


def claim(folder: Path, say: Callable[[str], None]) -> None:
    """Make the folder ours: refuse where another `up` runs in it, and end what a killed one has left.

    Raises:
        Failure: another one runs there (5), or the folder cannot be written (1).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"data folder {folder} cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise Failure(f"data folder {folder} cannot be written: permission denied")
    state = read_state(folder)
    if state is None:
        return
    if state.supervisor.alive() and state.supervisor != Process.of(os.getpid()):
        raise Failure(
            f"already running in {folder} (pid {state.supervisor.pid}); `penstock down` stops it",
            Exit.CONFLICT,
        )
    end_leftovers(state, say)
    remove_state(folder)


def end_leftovers(state: State, say: Callable[[str], None]) -> None:
    """Kill what still runs of an `up` whose supervisor is gone."""
    for name, running in state.processes.items():
        if running.process and running.process.alive():
            say(f"ending {name} (pid {running.process.pid}), left by an earlier run")
            running.process.kill_group()
            running.process.wait(10)


def _remove_empty(folder: Path) -> None:
    """What a start that failed at once has made; a folder that holds anything stays."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def _require_free(port: int, option: str) -> None:
    if not is_free(port):
        raise Failure(f"port {port} on {HOST} is taken: choose another one with {option}", Exit.CONFLICT)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _died_since(restarts: int, states: Mapping[str, Status]) -> bool:
    return _restarts(states) != restarts


def _restarts(states: Mapping[str, Status]) -> int:
    return sum(status.restarts for status in states.values())
