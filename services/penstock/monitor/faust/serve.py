"""The monitor as a process: it waits for its topics, then runs the app until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from contextlib import ExitStack, suppress
from typing import NoReturn

from penstock.monitor.faust import quiet
from penstock.monitor.faust.app import MonitorApp
from penstock.monitor.faust.handler import Handler
from penstock.monitor.faust.runner import leave, run
from penstock.monitor.faust.security import credentials
from penstock.monitor.ledger import NAME, SOURCE, STATE, Core, MakeCore, State
from penstock.monitor.settings import MonitorSettings
from penstock.runtime import logs
from penstock.runtime.broker import Broker
from penstock.runtime.catalog import Catalog, Names
from penstock.runtime.deadletter import Fuse, FuseBlown
from penstock.runtime.errors import Fenced, Unavailable
from penstock.runtime.kafka import KafkaBroker
from penstock.runtime.lag import EVERY, Lag
from penstock.runtime.serve import CONFLICT, FAILED, RETRY, Life
from penstock.runtime.telemetry import Telemetry, from_environment

OUTPUT = "evidence"


def serve(settings: MonitorSettings, make: MakeCore[State]) -> None:
    """Run until SIGTERM or SIGINT; exits the process with a code if something went wrong.

    Raises:
        WrongSetting: Faust cannot speak to Kafka as it is asked to.
    """
    credentials(settings.kafka)  # said before anything is waited for
    logs.configure(NAME, style=settings.log)
    quiet.hush()
    log, life = logs.get(), Life()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: life.stop.set())
    with ExitStack() as held:
        broker = KafkaBroker(settings.broker, settings.kafka)
        held.callback(broker.close)
        telemetry = from_environment(NAME, slot=settings.slot)
        held.callback(telemetry.close)
        log.info("started", broker=settings.broker, slot=settings.slot)
        built = wait_for(broker, Names(settings.prefix), make, life)
        if built is not None:
            catalog, core = built
            held.callback(catalog.close)
            held.callback(core.close)
            lag = Lag(broker, telemetry, group=catalog.names.of(NAME))
            asyncio.run(_live(settings, built, telemetry, lag, life))
    log.info("stopped", code=0)


async def _live(
    settings: MonitorSettings,
    built: tuple[Catalog, Core[State]],
    telemetry: Telemetry,
    lag: Lag,
    life: Life,
) -> None:
    catalog, core = built
    # Only here, where the event loop runs: what Faust makes before is bound to another one, and never ends.
    app = MonitorApp(settings)
    handler = Handler(
        core,
        catalog,
        write=app.write,
        recall=app.recall,
        reached=app.reached,
        group=catalog.names.of(NAME),
        telemetry=telemetry,
        fuse=Fuse() if settings.fuse == "on" else None,
    )
    app.serve(handler, fail)
    telling = asyncio.create_task(_tell(lag, handler)) if telemetry.on else None
    await run(app, life, leave=leave)
    if telling is not None:
        telling.cancel()


async def _tell(lag: Lag, handler: Handler[State]) -> None:
    """How far behind the monitor is, now and then; in a thread, since a broker that is away is waited for."""
    while True:
        await asyncio.sleep(EVERY)
        with suppress(Unavailable):
            await asyncio.to_thread(lag.look, dict(handler.positions))


def wait_for(
    broker: Broker, names: Names, make: MakeCore[State], life: Life
) -> tuple[Catalog, Core[State]] | None:
    """The catalog and the core, once the broker and its topics are there; None if it is to end before."""
    conditions = logs.Conditions()
    while not life.stop.is_set():
        with ExitStack() as held:
            try:
                require_topics(broker, names)
                catalog = Catalog(broker, names)
                held.callback(catalog.close)
                core = make(catalog, broker)
            except Unavailable as away:
                conditions.began("waiting", why=str(away))
                life.stop.wait(RETRY)
                continue
            held.pop_all()
        conditions.ended("waiting")
        return catalog, core
    return None


def require_topics(broker: Broker, names: Names) -> None:
    """Faust says that it is ready without a topic to read, and tries for ever without one to restore from.

    Raises:
        Unavailable: one of the topics is not there, or their partitions do not match.
    """
    counts = broker.topics()
    needed = [names.of(topic) for topic in (SOURCE, STATE, OUTPUT)]
    for topic in [*needed, names.dead_letters(NAME)]:
        if topic not in counts:
            raise Unavailable(f"no topic {topic}: `penstock up` or `penstock apply` makes it")
    if len({counts[topic] for topic in needed}) > 1:
        found = ", ".join(f"{topic} has {counts[topic]}" for topic in needed)
        raise Unavailable(f"these topics need equal numbers of partitions: {found}")


def fail(error: BaseException) -> NoReturn:
    """A record could not be processed: the process ends before it counts as if it were."""
    log = logs.get()
    match error:
        case asyncio.CancelledError():
            log.info("stopped", code=0, committed=False)
            leave(0)
        case FuseBlown():
            log.critical("fuse_blown", why=str(error))
            leave(FAILED)
        case Fenced():
            log.critical("fenced", why=str(error))
            leave(CONFLICT)
        case Unavailable():
            log.critical("unavailable", why=str(error))
            leave(FAILED)
        case _:
            log.critical("crashed", exc_info=error)
            leave(FAILED)
