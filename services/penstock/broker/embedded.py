"""Run the embedded Kafka as a child of this process: for tests, benchmarks and the command line."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self

from penstock.broker.errors import BrokerError
from penstock.broker.launch import Launch, last_error, prepare, wait_ready
from penstock.broker.leash import leashed

if TYPE_CHECKING:
    from types import TracebackType

START_TIMEOUT = 60.0  # seconds; it takes 2, and longer where a large log is recovered after a kill
STOP_TIMEOUT = 30.0  # seconds; it takes 0.3


class EmbeddedKafka:
    """A Kafka of one's own, in a folder; it ends with the ``with`` block, and with this process.

    Args:
        folder: where the data is or will be.
        port: where clients connect; None means the port remembered in the folder, or else a free one.

    ::

        with EmbeddedKafka(tmp_path) as kafka:
            client = connect(kafka.bootstrap)
            kafka.kill()     # as the kernel would, short of memory
            kafka.start()    # the same address, the same data
    """

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self._folder = Path(folder)
        self._port = port
        self._launch: Launch | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """Host and port for clients; the same over restarts."""
        return self._launched().bootstrap

    @property
    def log(self) -> Path:
        """The file of Kafka's warnings and errors."""
        return self._launched().log

    @property
    def pid(self) -> int:
        """The process id of the running Kafka."""
        return self._running().pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Run Kafka and return when it answers.

        Raises:
            BrokerError: it cannot run as asked, or ended while starting.
        """
        if self.alive:
            return
        if self._launch is None:
            self._launch = prepare(self._folder, port=self._port)
        launch = self._launch
        with (launch.folder / "stdout.log").open("wb") as out:
            argv = leashed(launch.argv)
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                argv, env=dict(launch.env), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )
        try:
            wait_ready(launch.bootstrap, START_TIMEOUT, lambda: self.alive)
        except BrokerError as error:
            self.kill()
            cause = last_error(launch.log)
            raise BrokerError(f"{error}: {cause or 'no reason given'}; see {launch.log}") from error
        except BaseException:
            self.kill()
            raise

    def stop(self) -> int:
        """End Kafka in good order and return its exit code: 143, as Java reports a SIGTERM."""
        process = self._running()
        process.terminate()
        try:
            return process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """End Kafka as a crash would: SIGKILL."""
        process = self._running()
        process.kill()
        process.wait()

    def restart(self) -> None:
        """Stop and start; clients see the same address and the same data."""
        self.stop()
        self.start()

    def wait(self) -> int:
        """Wait until Kafka ends of its own, and return its exit code."""
        return self._running().wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.alive:
            self.stop()

    def _launched(self) -> Launch:
        if self._launch is None:
            raise RuntimeError("Kafka has not been started yet")
        return self._launch

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("Kafka has not been started yet")
        return self._process
