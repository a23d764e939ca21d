"""Run the embedded Kafka in the foreground: ``python -m penstock.broker --data DIR [--port N]``."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.broker.embedded import EmbeddedKafka
from penstock.broker.errors import BrokerError
from penstock.broker.jars import KAFKA_VERSION

if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run until Kafka ends, or a signal asks for the end; the address goes to stdout once it is ready.

    Returns:
        0 stopped by SIGTERM, 130 by Ctrl-C, 1 it could not run or ended by itself.
    """
    parser = argparse.ArgumentParser(
        prog="python -m penstock.broker", description="Apache Kafka on 127.0.0.1"
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the data")
    parser.add_argument(
        "--port", type=int, metavar="N", help="port for clients (a free one, then remembered)"
    )
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        with EmbeddedKafka(options.data, options.port) as kafka:
            print(kafka.bootstrap, flush=True)
            told = (
                f"Apache Kafka {KAFKA_VERSION} on {kafka.bootstrap}, data in {options.data}; Ctrl-C stops it"
            )
            print(told, file=sys.stderr)
            code = kafka.wait()
            print(f"Kafka ended with exit code {code}; see {kafka.log}", file=sys.stderr)
            return 1
    except BrokerError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
