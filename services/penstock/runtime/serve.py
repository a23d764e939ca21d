"""How a service lives: built, run until told to stop, and built anew whenever the broker was away.

Each task has a thread, a catalog and clients of its own, so nothing is shared that could be half done. What
is not `Unavailable` ends the process: whatever it held is rebuilt from the log by the next one.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, Protocol

from penstock.runtime import logs
from penstock.runtime.broker import Broker
from penstock.runtime.catalog import Catalog, Names
from penstock.runtime.deadletter import Fuse, FuseBlown
from penstock.runtime.errors import Fenced, Unavailable
from penstock.runtime.kafka import KafkaBroker
from penstock.runtime.loop import Loop, Task
from penstock.runtime.settings import Settings, WrongSetting
from penstock.runtime.telemetry import Telemetry, from_environment

RETRY: Final = 1.0
"""Seconds between two looks for a broker that is away."""
UNCOLLECTED: Final = 50_000
"""New objects, less those that went, between two looks of the garbage collector. Batches are tens of
thousands of tuples that go as they came; at Python's 700 it looks through each of them again and again."""
FAILED: Final = 1
INVALID: Final = 3
CONFLICT: Final = 5

MakeTask = Callable[[Catalog, Broker], Task]


class Worker(Protocol):
    """Something that runs step by step until it is closed."""

    def step(self) -> object: ...

    def close(self) -> None: ...


MakeWorker = Callable[[Broker, Telemetry], Worker]


class _TaskWorker:
    """A loop with the catalog its task follows."""

    def __init__(
        self, make: MakeTask, broker: Broker, telemetry: Telemetry, service: str, settings: Settings
    ) -> None:
        with ExitStack() as built:  # what was built is let go of, too, when the broker leaves in between
            catalog = Catalog(broker, Names(settings.prefix))
            built.callback(catalog.close)
            task = make(catalog, broker)
            built.callback(task.close)
            self._loop = Loop(
                task,
                broker,
                service=service,
                prefix=settings.prefix,
                slot=settings.slot,
                telemetry=telemetry,
                fuse=Fuse() if settings.fuse == "on" else None,
            )
            built.callback(self._loop.close)
            self._held = built.pop_all()

    def step(self) -> bool:
        return self._loop.step()

    def close(self) -> None:
        self._held.close()


@dataclass(slots=True)
class Life:
    """Whether the process is to go on, and how it ends.

    Args:
        stop: set when it is to end.
        code: the exit code then.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    code: int = 0

    def end(self, code: int) -> None:
        self.code = self.code or code
        self.stop.set()


def serve(
    service: str, settings: Settings, tasks: Sequence[MakeTask], workers: Sequence[MakeWorker] = ()
) -> None:
    """Run tasks, and other workers, until SIGTERM or SIGINT; exits the process with a code if one failed."""
    logs.configure(service, style=settings.log)
    life = Life()
    gc.set_threshold(UNCOLLECTED)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: life.stop.set())
    broker = KafkaBroker(settings.broker, settings.kafka)
    telemetry = from_environment(service, slot=settings.slot)
    makers: list[MakeWorker] = [
        *(
            lambda broker, telemetry, make=make: _TaskWorker(make, broker, telemetry, service, settings)
            for make in tasks
        ),
        *workers,
    ]
    threads = [
        threading.Thread(target=keep, args=(maker, broker, telemetry, life), name=f"{service}-{number}")
        for number, maker in enumerate(makers)
    ]
    log = logs.get()
    log.info("started", broker=settings.broker, slot=settings.slot)
    for thread in threads:
        thread.start()
    life.stop.wait()
    for thread in threads:
        thread.join()
    telemetry.close()
    broker.close()
    log.info("stopped", code=life.code)
    if life.code:
        sys.exit(life.code)


def keep(make: MakeWorker, broker: Broker, telemetry: Telemetry, life: Life) -> None:
    """Build a worker and step it until the life ends; build it anew whenever the broker was away."""
    log = logs.get()
    conditions = logs.Conditions(log)
    while not life.stop.is_set():
        try:
            # Closing may fail, too: were that not seen here, the process would live on without this thread.
            with contextlib.closing(make(broker, telemetry)) as worker:
                conditions.ended("waiting")
                while not life.stop.is_set():
                    worker.step()
        except Unavailable as away:
            conditions.began("waiting", why=str(away))
            life.stop.wait(RETRY)
        except WrongSetting as wrong:
            log.critical("wrong_setting", why=str(wrong))
            life.end(INVALID)
        except Fenced as fenced:
            log.critical("fenced", why=str(fenced))
            life.end(CONFLICT)
        except FuseBlown as blown:
            log.critical("fuse_blown", why=str(blown))
            life.end(FAILED)
        except Exception:
            log.exception("crashed")
            life.end(FAILED)
