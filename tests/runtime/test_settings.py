"""Settings: one class is the list, from which flags, variables, help and errors are made."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import pytest

from penstock.kernel.errors import Invalid
from penstock.runtime.settings import (
    Between,
    Count,
    Seconds,
    Settings,
    WrongSetting,
    add_arguments,
    describe,
    unknown,
)

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering(Settings):
    """A service that has one of each kind."""

    grpc_port: Annotated[int, Between(0, 65535)] = 8001
    """Where gRPC
    listens; 0 takes a free port."""
    batch: Count = 500
    """Records in one transaction, at most."""
    patience: Seconds = 0.05
    """How long to wait for a batch to fill."""
    reflection: bool = True
    """Whether clients may list the methods."""
    only: tuple[str, ...] = ()
    """Loops to run."""
    mode: Literal["fast", "slow"] = "fast"
    """How."""
    cache: Path | None = None
    """Where to keep what can be rebuilt."""


def read(environment: dict[str, str] | None = None, *flags: str) -> Answering:
    parser = argparse.ArgumentParser()
    add_arguments(parser, Answering)
    return Answering.read(environment or {}, vars(parser.parse_args(flags)))


def test_defaults_are_those_of_the_class() -> None:
    assert read() == Answering()


def test_every_kind_is_read_from_the_environment(tmp_path: Path) -> None:
    settings = read(
        {
            "PENSTOCK_BROKER": "kafka:9092",
            "PENSTOCK_GRPC_PORT": "0",
            "PENSTOCK_BATCH": "1",
            "PENSTOCK_PATIENCE": "0.5",
            "PENSTOCK_REFLECTION": "no",
            "PENSTOCK_ONLY": "intake, join",
            "PENSTOCK_MODE": "slow",
            "PENSTOCK_CACHE": str(tmp_path),
            "PENSTOCK_SLOT": "",  # what compose makes of an unset variable
        }
    )
    assert settings == Answering(
        broker="kafka:9092",
        grpc_port=0,
        batch=1,
        patience=0.5,
        reflection=False,
        only=("intake", "join"),
        mode="slow",
        cache=tmp_path,
    )


def test_a_flag_wins_over_the_environment_and_that_over_what_the_caller_knows() -> None:
    both = {"PENSTOCK_GRPC_PORT": "8002"}
    assert read(both, "--grpc-port", "8003").grpc_port == 8003
    assert Answering.read(both, defaults={"grpc_port": "8004", "broker": "up:1"}).grpc_port == 8002
    assert Answering.read(both, defaults={"grpc_port": "8004", "broker": "up:1"}).broker == "up:1"


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        (
            "PENSTOCK_GRPC_PORT",
            "http",
            "PENSTOCK_GRPC_PORT is 'http', expected a whole number from 0 to 65535",
        ),
        (
            "PENSTOCK_GRPC_PORT",
            "70000",
            "PENSTOCK_GRPC_PORT is '70000', expected a whole number from 0 to 65535",
        ),
        ("PENSTOCK_BATCH", "0", "PENSTOCK_BATCH is '0', expected a whole number at least 1"),
        ("PENSTOCK_PATIENCE", "nan", "PENSTOCK_PATIENCE is 'nan', expected a number at least 0"),
        ("PENSTOCK_REFLECTION", "maybe", "PENSTOCK_REFLECTION is 'maybe', expected yes or no"),
        ("PENSTOCK_MODE", "medium", "PENSTOCK_MODE is 'medium', expected fast or slow"),
    ],
)
def test_a_wrong_value_is_one_line(variable: str, text: str, message: str) -> None:
    with pytest.raises(WrongSetting) as raised:
        read({variable: text})
    assert str(raised.value) == message
    assert isinstance(raised.value, Invalid), "which the command line turns into exit code 3"


def test_a_wrong_flag_is_called_by_its_name() -> None:
    with pytest.raises(WrongSetting, match=r"^--batch is 'many', expected a whole number at least 1$"):
        read({}, "--batch", "many")


@pytest.mark.parametrize("empty", ["", "  "])
@pytest.mark.parametrize("flag", ["--slot", "--broker"])
def test_an_empty_flag_is_no_name(flag: str, empty: str) -> None:
    with pytest.raises(WrongSetting, match=rf"^{flag} is '{empty}', expected text that is not empty$"):
        read({}, flag, empty)
    assert not read({}, "--prefix", "").prefix, "a cluster of one's own needs no prefix"


def test_kafka_is_passed_through_and_secrets_come_from_files(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2\n", encoding="utf-8")
    settings = read(
        {
            "PENSTOCK_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "PENSTOCK_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "PENSTOCK_KAFKA_SASL_PASSWORD_FILE": str(secret),
        }
    )
    assert settings.kafka == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.password": "hunter2",
    }
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    "variable", ["ENABLE_AUTO_COMMIT", "TRANSACTIONAL_ID", "ISOLATION_LEVEL", "GROUP_ID"]
)
def test_what_exactly_once_rests_on_is_not_passed_through(variable: str) -> None:
    with pytest.raises(WrongSetting, match="expected one about security, sasl, ssl"):
        read({f"PENSTOCK_KAFKA_{variable}": "x"})


def test_a_secret_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(
        WrongSetting, match=r"PENSTOCK_KAFKA_SASL_PASSWORD_FILE names .* cannot be read: No such"
    ):
        read({"PENSTOCK_KAFKA_SASL_PASSWORD_FILE": str(missing)})


def test_every_field_has_its_text_under_it() -> None:
    texts = {setting.name: setting.help for setting in describe(Answering)}
    assert texts["grpc_port"] == "Where gRPC listens; 0 takes a free port."
    assert texts["broker"].startswith("Kafka's bootstrap servers")
    assert all(texts.values())


def test_a_misspelt_variable_gets_a_hint() -> None:
    environment = {
        "PENSTOCK_GRCP_PORT": "1",
        "PENSTOCK_XYZZY": "1",
        "PENSTOCK_BATCH": "1",
        "PENSTOCK_KAFKA_DEBUG": "broker",
        "PENSTOCK_PROVE": "1",
        "PATH": "/bin",
    }
    assert unknown(environment, Answering, others=["PENSTOCK_PROVE"]) == [
        "PENSTOCK_GRCP_PORT is no setting (did you mean PENSTOCK_GRPC_PORT?)",
        "PENSTOCK_XYZZY is no setting",
    ]
