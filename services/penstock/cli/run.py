"""Run one service in this process; `penstock run SERVICE --help` lists its settings.

In production every service is this command in a container of its own, told what to do by PENSTOCK_
variables.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

from penstock.cli.address import broker_address
from penstock.cli.exits import Exit, Failure
from penstock.cli.services import SERVICES, Service
from penstock.runtime.settings import add_arguments as add_settings
from penstock.runtime.settings import unknown

ELSEWHERE = (
    "PENSTOCK_CACHE",
    "PENSTOCK_DATA",
    "PENSTOCK_GRPC",
    "PENSTOCK_GRPC_TOKEN",
    "PENSTOCK_PROVE",
    "PENSTOCK_TEST_BROKER",
)
"""Variables that no service reads: they are for the embedded broker, the image, the verbs and the tests."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    listed = "; ".join(f"{service.name}: {service.question}" for service in SERVICES)
    # Optional, so that leaving it out is answered with the names.
    parser.add_argument("service", nargs="?", metavar="SERVICE", help=listed)
    parser.add_argument("flags", nargs=argparse.REMAINDER, metavar="…", help="its settings")


def run(args: argparse.Namespace) -> int:
    service = next((each for each in SERVICES if each.name == args.service), None)
    if service is None:
        what = "no service" if args.service is None else f"unknown service '{args.service}'"
        names = ", ".join(each.name for each in SERVICES)
        raise Failure(f"penstock run: {what}, expected one of {names}", Exit.USAGE)
    return serve(service, args.flags)


def serve(service: Service, flags: list[str]) -> int:
    """Run a service until it is told to stop; flags win over the environment."""
    kind = service.settings()
    parser = argparse.ArgumentParser(
        prog=f"penstock run {service.name}", description=f"Answers: {service.question}", allow_abbrev=False
    )
    add_settings(parser, kind)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    given = vars(parser.parse_args(flags))
    every = [each.settings() for each in SERVICES]  # services share an environment where one `up` runs them
    for line in unknown(os.environ, *every, others=ELSEWHERE):
        print(line, file=sys.stderr)
    settings = kind.read(os.environ, given, defaults={"broker": broker_address(None, environment={})})
    import_module(f"penstock.{service.name}.service").main(settings)
    return Exit.OK
