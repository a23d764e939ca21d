"""Getting models into memory: fetched, judged, tried and warmed beside the serving, then swapped in at
once.

A load runs in a thread, since it takes half a second. Calls are answered from the old `Serving` until
everything the new route names is either loaded or known to be unusable here; then one reference changes. No
call sees half of a change, none waits for one.
"""

from __future__ import annotations

import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from penstock.inference.domain import STARTING, Directory, Loaded, Serving, Waiting, answering, versions
from penstock.kernel.errors import Invalid
from penstock.onnx import Explaining, Model, Refused, check
from penstock.runtime import logs
from penstock.runtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from penstock.contracts.records import ModelRegistered, RouteChanged
    from penstock.inference.artifacts import Artifacts
    from penstock.kernel.pipeline import Pipeline

    Fetch = Callable[[ModelRegistered], bytes]

RETRY_SECONDS: Final = 5.0
"""After an artifact could not be had, so long until it is asked for again."""
_WARM: Final = (1, 64)
TRIES: Final = 50
TRY_SECONDS: Final = 0.1
"""How often, and about how long, a model is tried to find out how fast it is."""
Key = tuple[str, int, str]
"""Pipeline, version, artifact digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Why a version is not loaded.

    Args:
        reason: one line.
        retry: when to try again, on the clock of the shelf; None where nothing can change the verdict.
    """

    reason: str
    retry: float | None


def load(
    registered: ModelRegistered, artifact: bytes, *, threads: int = 1, cpus: Collection[int] = ()
) -> Loaded:
    """The version, once its artifact has passed every check and given its golden answers here.

    Args:
        registered: the version.
        artifact: its ONNX bytes.
        threads: that one run may use.
        cpus: processors they run on; any where left out.

    Raises:
        Refused: it did not.
    """
    manifest = registered.manifest
    check(artifact, features=len(manifest.features), scores=manifest.scores)
    model = Model.load(artifact, digest=manifest.digest, threads=threads, cpus=cpus)
    model.reproduce(
        [golden.features for golden in manifest.golden], [golden.scores for golden in manifest.golden]
    )
    for rows in _WARM:  # the first run of a session allocates; a caller should not wait for that
        model.run(np.zeros((rows, model.features), dtype=np.float32))
    return Loaded(
        version=registered.version,
        features=manifest.features,
        model=model,
        explaining=Explaining(artifact),
        seconds=seconds_of(model),
    )


def seconds_of(model: Model) -> float:
    """How long the model takes for one row: the least of many tries, since all else only adds to it."""
    row = np.zeros((1, model.features), dtype=np.float32)
    best, until = inf, time.perf_counter() + TRY_SECONDS
    for _ in range(TRIES):
        began = time.perf_counter()
        model.run(row)
        ended = time.perf_counter()
        best = min(best, ended - began)
        if ended > until:
            break
    return best


class AtOnce(Executor):
    """Runs what it is given before it returns: for scenarios and backtests, which have one thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever asks for the result
            future.set_exception(error)
        return future


class Shelf:
    """The models that are loaded here, and the directory made of them.

    One thread calls `update`; any thread may read `directory`.

    Args:
        executor: runs the loads; a thread of its own where none is given.
        clock: seconds that only grow.
        artifacts: on disk, so that a restart need not read them from the log; none where left out.
        threads: that one run of a model may use.
        cpus: processors they run on; any where left out.
    """

    def __init__(
        self,
        executor: Executor | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        artifacts: Artifacts | None = None,
        threads: int = 1,
        cpus: Collection[int] = (),
    ) -> None:
        self.directory: Directory = STARTING
        """What can be asked now: replaced as a whole, never changed."""
        self.settled = False
        """Whether every pipeline that has a route could be asked once since the start."""
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="load")
        self._clock = clock
        self._artifacts = artifacts
        self._threads = threads
        self._cpus = cpus
        self._loaded: dict[Key, Loaded] = {}
        self._failed: dict[Key, Failed] = {}
        self._loading: dict[Key, Future[Loaded]] = {}
        self._log = logs.get(component="loader")

    def update(
        self,
        pipelines: Mapping[str, Pipeline],
        routes: Mapping[str, RouteChanged],
        models: Mapping[tuple[str, int], ModelRegistered],
        fetch: Fetch,
    ) -> None:
        """Begin what loads are due, take in those that are done, and put the directory in order.

        Args:
            pipelines: in force, by name.
            routes: by pipeline.
            models: by pipeline and version.
            fetch: gives the artifact; called in the thread of the load.
        """
        wanted = _wanted(pipelines, routes, models)
        self._finish()
        self._begin(wanted, fetch)
        self._finish()
        states: dict[str, Serving | Waiting] = {}
        for name, pipeline in pipelines.items():
            states[name] = self._state(pipeline, routes.get(name), models)
        self.directory = states
        self._forget(wanted)
        routed = [states[name] for name in routes if name in states]
        self.settled = self.settled or not any(isinstance(state, Waiting) for state in routed)

    def refused(self, name: str) -> dict[int, str]:
        """The versions of a pipeline that could not be loaded, and why."""
        failed = self._failed.copy()  # another thread may ask
        return {version: each.reason for (of, version, _), each in failed.items() if of == name}

    def epochs(self) -> dict[str, int]:
        """The route epoch in force, by pipeline."""
        states = self.directory.items()
        return {name: state.route.epoch for name, state in states if isinstance(state, Serving)}

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _begin(self, wanted: Mapping[Key, ModelRegistered], fetch: Fetch) -> None:
        for key, registered in wanted.items():
            failed = self._failed.get(key)
            if key in self._loaded or key in self._loading or not (failed is None or self._due(failed)):
                continue
            self._log.info("loading", pipeline=key[0], version=key[1], bytes=registered.manifest.size)
            self._loading[key] = self._executor.submit(self._fetch_and_load, registered, fetch)

    def _fetch_and_load(self, registered: ModelRegistered, fetch: Fetch) -> Loaded:
        """In the thread of the load."""
        digest, artifacts = registered.manifest.digest, self._artifacts
        artifact = None if artifacts is None else artifacts.find(digest, size=registered.manifest.size)
        if artifact is None:
            artifact = fetch(registered)
            if artifacts is not None:
                artifacts.keep(digest, artifact)
        return load(registered, artifact, threads=self._threads, cpus=self._cpus)

    def _due(self, failed: Failed) -> bool:
        return failed.retry is not None and self._clock() >= failed.retry

    def _finish(self) -> None:
        for key in [key for key, future in self._loading.items() if future.done()]:
            pipeline, version, _ = key
            try:
                self._loaded[key] = self._loading.pop(key).result()
            except (Refused, Invalid) as why:
                self._failed[key] = Failed(reason=str(why), retry=None)
                self._log.error("version_refused", pipeline=pipeline, version=version, why=str(why))
            except Unavailable as why:
                self._failed[key] = Failed(reason=str(why), retry=self._clock() + RETRY_SECONDS)
                self._log.warning("artifact_unavailable", pipeline=pipeline, version=version, why=str(why))
            else:
                self._failed.pop(key, None)
                self._log.info("loaded", pipeline=pipeline, version=version)

    def _state(
        self,
        pipeline: Pipeline,
        route: RouteChanged | None,
        models: Mapping[tuple[str, int], ModelRegistered],
    ) -> Serving | Waiting:
        if route is None:
            return Waiting(reason="version 0 is not there yet")
        there: dict[int, Loaded] = {}
        reason = ""
        for version in versions(route):
            registered = models.get((pipeline.name, version))
            key = None if registered is None else _key(registered)
            answers = version in answering(route)
            if key in self._loaded:
                there[version] = self._loaded[key]
            elif key in self._failed and not answers:
                pass  # a shadow that is unusable here must not keep the route from being followed
            elif key in self._failed:
                reason = f"version {version} cannot be loaded: {self._failed[key].reason}"
            else:
                reason = reason or f"version {version} is being loaded"
        before = self.directory.get(pipeline.name)
        if not reason:
            if isinstance(before, Serving) and (before.pipeline, before.route) == (pipeline, route):
                return before if before.models == there else replace(before, models=there)
            self._log.info("route", pipeline=pipeline.name, epoch=route.epoch, versions=sorted(there))
            return Serving(pipeline=pipeline, route=route, models=there)
        if isinstance(before, Serving):
            return before if before.pipeline == pipeline else replace(before, pipeline=pipeline)
        return Waiting(reason=reason)

    def _forget(self, wanted: Mapping[Key, ModelRegistered]) -> None:
        """Let go of what no route names; a `Serving` still in force keeps its own."""
        for kept in (self._loaded, self._failed):
            for key in kept.keys() - wanted.keys():
                del kept[key]


def _wanted(
    pipelines: Mapping[str, Pipeline],
    routes: Mapping[str, RouteChanged],
    models: Mapping[tuple[str, int], ModelRegistered],
) -> dict[Key, ModelRegistered]:
    """Every version that a route names and the registry has registered."""
    found = {}
    for name, route in routes.items():
        for version in versions(route) if name in pipelines else ():
            if registered := models.get((name, version)):
                found[_key(registered)] = registered
    return found


def _key(registered: ModelRegistered) -> Key:
    return registered.pipeline, registered.version, registered.manifest.digest
