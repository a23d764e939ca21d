"""A replica of inference in a process of its own, on a real Kafka, with models and routes written by hand.

What the trainer and the registry would write is written here, so that a version and a route are there when a
measurement or a proof wants them: chunks, `ModelRegistered`, `RouteChanged`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from penstock.broker import leashed
from penstock.broker.ports import free_port
from penstock.contracts.records import Golden, Manifest, ModelRegistered, Purpose, RouteChanged, Verdict
from penstock.inference import health
from penstock.kernel.hashing import partition_of
from penstock.kernel.pipeline import Pipeline
from penstock.onnx import Model, digest_of
from penstock.runtime.blobs import chunks
from penstock.runtime.broker import Message
from penstock.runtime.catalog import Names, apply_messages
from penstock.runtime.codec import Codec
from penstock.runtime.kafka import KafkaBroker
from penstock.runtime.topics import topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from penstock.runtime.broker import Producer

PATIENCE: Final = 60.0
"""Seconds that a process may take to answer, or to end."""
NAME: Final = "bench"


def pipeline_of(features: int) -> Pipeline:
    """A binary pipeline of so many numbers, none of them bounded."""
    return Pipeline.read(
        {
            "pipeline": NAME,
            "task": "binary",
            "events": {"topic": "raw.bench.events", "id": "id", "time": "t"},
            "labels": {"topic": "raw.bench.labels", "id": "id", "time": "t", "value": "y", "horizon": "1d"},
            "features": {f"n{index:02d}": "number" for index in range(features)},
        }
    )


class Registry:
    """Writes what operator, trainer and registry would, for one pipeline.

    Args:
        bootstrap: of the Kafka.
        prefix: of its topics.
        pipeline: to be served.
    """

    def __init__(self, bootstrap: str, *, prefix: str, pipeline: Pipeline) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.pipeline = pipeline
        self.names = Names(prefix)
        self.codec = Codec()
        self.broker = KafkaBroker(bootstrap)
        self.broker.create([*topics(prefix), *topics(prefix, pipeline=pipeline.name)])
        self.partitions = self.broker.topics()
        self.route: RouteChanged | None = None
        self._producer: Producer = self.broker.producer()
        control = self.partitions[self.names.of("pipelines")]
        self.write(apply_messages(self.names, pipeline, self.codec, partitions=control, now=0))

    def register(self, version: int, artifact: bytes) -> None:
        """The artifact's chunks, then the version."""
        self.write(
            chunks(self.names.of("chunks"), artifact, partitions=self.partitions[self.names.of("chunks")])
        )
        self._control("models", f"{self.pipeline.name}/{version:06d}", self._registered(version, artifact))

    def serve(self, champion: int, **changes: Any) -> RouteChanged:
        """The next route epoch; `changes` are canary, share, shadows and the like."""
        values: dict[str, Any] = {"canary": None, "share": 0.0, "salt": "s", "shadows": ()} | changes
        epoch = 1 if self.route is None else self.route.epoch + 1
        self.route = RouteChanged(
            pipeline=self.pipeline.name, epoch=epoch, champion=champion, decision="", causes=(), **values
        )
        self._control("routes", self.pipeline.name, self.route)
        return self.route

    def write(self, messages: Iterable[Message]) -> None:
        """Returns when Kafka has them."""
        for message in messages:
            while not self._producer.send(message):
                self._producer.flush(0.1)
        if self._producer.flush(PATIENCE) or self._producer.failed():
            raise SystemExit("what the registry writes could not be written")

    def close(self) -> None:
        self._producer.close()
        self.broker.close()

    def _control(self, topic: str, key: str, event: object) -> None:
        partition = partition_of(self.pipeline.name.encode(), self.partitions[self.names.of(topic)])
        self.write([Message(self.names.of(topic), self.codec.encode(event), key.encode(), (), partition)])

    def _registered(self, version: int, artifact: bytes) -> ModelRegistered:
        model = Model.load(artifact, digest=digest_of(artifact))
        rows = np.zeros((1, model.features), dtype=np.float32)
        golden = Golden(features=tuple(rows[0].tolist()), scores=tuple(model.run(rows)[0].tolist()))
        manifest = Manifest(
            digest=model.digest,
            size=len(artifact),
            features=self.pipeline.feature_names,
            layout=self.pipeline.features_digest,
            scores=model.scores,
            lane="baseline",
            ranges=(),
            golden=(golden,),
            libraries={},
            parent=None,
            purpose=Purpose.BASELINE,
            algorithm="by hand",
            asked=None,
            since=None,
            cut=None,
            rows=0,
            content="",
            seed=0,
            verdict=Verdict.NONE,
            metrics={},
            profile=None,
        )
        return ModelRegistered(
            pipeline=self.pipeline.name,
            version=version,
            candidate=f"candidate-{version}",
            manifest=manifest,
            causes=(),
        )


@dataclass(kw_only=True)
class Server:
    """One process that listens: `python -m MODULE ARGUMENTS`, ended with the ``with`` block.

    Args:
        module: what to run.
        arguments: `{listen}` in one of them becomes the address.
        environment: on top of this process's own.
        answering: whether it is to say SERVING before it counts as started.
    """

    module: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    answering: bool = True
    address: str = ""
    lines: list[str] = field(default_factory=list)
    """What it said on stderr."""

    @classmethod
    def inference(
        cls, registry: Registry, *, slot: str = "0", module: str = "penstock", **settings: str
    ) -> Server:
        """`penstock run inference` on the registry's Kafka; `settings` are PENSTOCK_* in lower case."""
        flags = ("--broker", registry.bootstrap, "--prefix", registry.prefix, "--slot", slot)
        environment = {f"PENSTOCK_{name.upper()}": value for name, value in settings.items()}
        return cls(
            module=module,
            arguments=("run", "inference", "--listen", "{listen}", *flags),
            environment=environment,
        )

    def __enter__(self) -> Self:
        self.address = f"127.0.0.1:{free_port()}"
        arguments = [argument.format(listen=self.address) for argument in self.arguments]
        self._process = subprocess.Popen(
            leashed([sys.executable, "-m", self.module, *arguments]),
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        try:
            self.wait_until(lambda: not self.answering or health.serving(self.address, seconds=1.0))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._listener.join(PATIENCE)

    @property
    def pid(self) -> int:
        return self._process.pid

    def said(self, event: str, **fields: object) -> bool:
        """Whether a line of its log has this event and these fields."""
        for line in self.lines:
            if f'"event": "{event}"' in line:
                record = json.loads(line)
                if all(record.get(name) == value for name, value in fields.items()):
                    return True
        return False

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait for what the process is about to do; an error with its last lines where it does not."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("\n".join([*self.lines[-30:], f"{self.module} did not do as expected"]))
            time.sleep(0.02)

    def _listen(self) -> None:
        if self._process.stderr is not None:
            with self._process.stderr as stderr:
                self.lines.extend(line.rstrip("\n") for line in stderr)
