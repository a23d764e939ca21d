"""The gRPC side of inference as one worker: a server, the log of its answers, and what it reports of itself.

It answers from the shelf, whatever the broker does: only the log and the reports need Kafka, and they wait.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from typing import TYPE_CHECKING, Final

from google.protobuf.internal import api_implementation

from penstock.inference.cpus import cpus_of
from penstock.inference.log import PredictionLog
from penstock.inference.notices import Notices
from penstock.inference.replicas import Replicas
from penstock.inference.rpc import EXPERIMENTS, without_experiments, works
from penstock.inference.sampling import Sampling
from penstock.inference.security import Tokens, certificates_of
from penstock.inference.servicer import Server
from penstock.inference.slowly import Slowly
from penstock.runtime import logs, names
from penstock.runtime.catalog import Names
from penstock.runtime.codec import Codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.inference.loader import Shelf
    from penstock.inference.settings import InferenceSettings
    from penstock.inference.tally import Tally
    from penstock.runtime.broker import Broker
    from penstock.runtime.telemetry import Telemetry

TICK_SECONDS: Final = 0.1
"""How often readiness, losses and reports are looked after."""


def _event_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop  # noqa: PLC0415 - there is none for Windows
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


class Front:
    """Runs in one thread: built, stepped and closed there.

    Raises:
        OSError: the address cannot be listened on.
    """

    def __init__(
        self, broker: Broker, telemetry: Telemetry, *, settings: InferenceSettings, shelf: Shelf, tally: Tally
    ) -> None:
        topics, codec = Names(settings.prefix), Codec()
        self._shelf = shelf
        self._tally = tally
        self._telemetry = telemetry
        self._notices = Notices(broker)
        self._replicas = Replicas(broker, topics, codec, self._notices, shelf, slot=settings.slot)
        self._record = PredictionLog(
            broker,
            topics,
            codec,
            self._notices,
            slot=settings.slot,
            telemetry=telemetry,
            tally=tally,
            now=lambda: time.time_ns() // 1_000_000,
            later=lambda seconds, call: self._runner.get_loop().call_later(seconds, call),
        )
        self._sampling = Sampling(self._record)
        self._log = logs.get(component="grpc")
        self._runner = asyncio.Runner(loop_factory=_event_loop())
        self._server = self._runner.run(self._open(settings))

    @property
    def port(self) -> int:
        """Where the server listens."""
        return self._server.port

    def step(self) -> bool:
        """Serve for a moment, then look after readiness, losses and reports."""
        self._runner.run(self._turn())
        return True

    def close(self) -> None:
        """NOT_SERVING first, then drain, then write what is still in the buffers."""
        self._runner.run(self._server.stop())
        self._runner.run(self._sampling.close())
        self._record.close()
        self._tally.report(self._telemetry)
        self._replicas.leave()
        self._notices.close()
        self._runner.close()

    async def _open(self, settings: InferenceSettings) -> Server:
        server = Server(
            settings.listen,
            directory=lambda: self._shelf.directory,
            log=self._sampling,
            telemetry=self._telemetry,
            concurrency=settings.concurrency,
            certificates=certificates_of(settings),
            tokens=None if settings.tokens is None else Tokens(settings.tokens),
            slowly=Slowly(settings.scoring_threads, cpus_of(settings.scoring_cpus)),
        )
        port = await server.start()
        experimental = os.environ.get("GRPC_EXPERIMENTS") == EXPERIMENTS
        if experimental and not await works():
            self._log.warning("grpc_experiments_do_not_work", experiments=EXPERIMENTS)
            without_experiments()
        if (protobuf := api_implementation.Type()) != "upb":
            self._log.warning("protobuf_is_slow", implementation=protobuf, expected="upb")
        self._log.info("listening", address=settings.listen, port=port)
        return server

    async def _turn(self) -> None:
        await asyncio.sleep(TICK_SECONDS)
        if self._shelf.settled and not self._server.ready:
            # What is there by now stays: a full collection would go through it all, for 20 ms and more, in
            # which no call is answered.
            gc.collect()
            gc.freeze()
            await self._server.announce(ready=True)
            self._log.info("ready")
        await self._server.look()
        self._record.tick()
        # It may ask the broker something, and calls must not wait while one that is away does not answer.
        await asyncio.to_thread(self._replicas.tick)
        self._notices.tick()
        self._tally.report(self._telemetry)
        if self._telemetry.on:
            for name, epoch in self._shelf.epochs().items():
                self._telemetry.gauge(names.ROUTE_EPOCH, epoch, pipeline=name)
