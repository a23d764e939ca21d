"""Who may ask: TLS, clients' certificates, bearer tokens; all of it on a real server."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]  # it ships no types
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # nor does this
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped]  # nor does this
    reflection_pb2,
    reflection_pb2_grpc,
)

from penstock.contracts import oip_pb2
from penstock.inference import health, security
from penstock.inference.rpc import SERVICE
from penstock.inference.security import Certificates, Tokens, certificates_of
from penstock.inference.service import require_usable
from penstock.inference.settings import InferenceSettings
from penstock.runtime.settings import WrongSetting
from tests.inference.asking import packed, response, scores_of, serving
from tests.inference.running import ROW, Running, running, until

if TYPE_CHECKING:
    from pathlib import Path

ALL, ONE = "for-every-pipeline-0123456789", "for-the-trips-alone-0123456789"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def issue(authority: trustme.CA, folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """A certificate and its key, as files."""
    made = authority.issue_cert(name)
    certificate, key = folder / "server.pem", folder / "server.key"
    made.private_key_pem.write_to_path(str(key))
    certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    return certificate, key


def roots(authority: trustme.CA) -> bytes:
    pem: bytes = authority.cert_pem.bytes()
    return pem


def ask(up: Running, credentials: Any = None, *, seconds: float = 20, **options: Any) -> bytes:
    """One call on a connection of its own."""
    address = f"localhost:{up.port}"
    channel = (
        grpc.insecure_channel(address) if credentials is None else grpc.secure_channel(address, credentials)
    )
    with channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        answer: bytes = call(packed(ROW), **{"timeout": seconds, **options})
    return answer


def code_of(up: Running, credentials: Any = None, **options: Any) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        ask(up, credentials, **options)
    name: str = caught.value.code().name
    return name


def test_tls_is_served_and_plain_text_is_not(authority: trustme.CA, tmp_path: Path) -> None:
    certificates = Certificates(*issue(authority, tmp_path))
    with running({"trips": serving()}, certificates=certificates) as up:
        assert scores_of(response(ask(up, grpc.ssl_channel_credentials(roots(authority))))) == [[27.5]]
        assert code_of(up, seconds=5) == "UNAVAILABLE"
        other = grpc.ssl_channel_credentials(roots(trustme.CA()))
        assert code_of(up, other, seconds=5) == "UNAVAILABLE"


def test_a_renewed_certificate_is_used_for_the_next_connection(tmp_path: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    certificate, key = issue(old, tmp_path)
    with running({"trips": serving()}, certificates=Certificates(certificate, key)) as up:
        assert ask(up, grpc.ssl_channel_credentials(roots(old)))
        # Half of a renewal: the old pair stays in use.
        made = new.issue_cert("localhost")
        made.private_key_pem.write_to_path(str(key))
        assert ask(up, grpc.ssl_channel_credentials(roots(old)))
        certificate.write_bytes(made.cert_chain_pems[0].bytes())
        assert ask(up, grpc.ssl_channel_credentials(roots(new)))
        assert code_of(up, grpc.ssl_channel_credentials(roots(old)), seconds=5) == "UNAVAILABLE"


def test_a_client_without_a_certificate_of_ours_is_not_let_in(authority: trustme.CA, tmp_path: Path) -> None:
    clients = trustme.CA()
    file = tmp_path / "clients.pem"
    file.write_bytes(roots(clients))

    def with_certificate(of: trustme.CA) -> Any:
        made = of.issue_cert("a-client")
        return grpc.ssl_channel_credentials(
            roots(authority), made.private_key_pem.bytes(), made.cert_chain_pems[0].bytes()
        )

    certificates = Certificates(*issue(authority, tmp_path), file)
    with running({"trips": serving()}, certificates=certificates) as up:
        assert ask(up, with_certificate(clients))
        assert code_of(up, grpc.ssl_channel_credentials(roots(authority)), seconds=5) == "UNAVAILABLE"
        assert code_of(up, with_certificate(trustme.CA()), seconds=5) == "UNAVAILABLE"


def test_a_probe_can_speak_tls_too(authority: trustme.CA, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(roots(authority))
    certificate, key = issue(authority, tmp_path, "penstock.example")
    certificates = Certificates(certificate, key, ca)
    with running({"trips": serving()}, certificates=certificates) as up:
        up.call(up.server.announce(ready=True))
        up.call(up.server.look())
        where = [up.address, "--ca", str(ca), "--name", "penstock.example"]
        own = ["--certificate", str(certificate), "--key", str(key)]
        assert health.main([*where, *own]) == 0
        assert health.main([*where, *own, "--service", "trips"]) == 0
        assert health.main([*where, *own, "--service", "rides"]) == 1
        assert health.main(where) == 1
        assert health.main([up.address]) == 1
    assert health.main([*where, "--key", str(tmp_path / "absent")]) == 1


def test_files_that_cannot_be_used_are_one_line(authority: trustme.CA, tmp_path: Path) -> None:
    certificate, key = issue(authority, tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    _, wrong = issue(authority, other)
    absent = tmp_path / "absent.pem"
    text = tmp_path / "text"
    text.write_text("hello")
    for paths, message in (
        ((absent, key), r"PENSTOCK_TLS_CERTIFICATE names .*absent.pem', which cannot be read: No such file"),
        (
            (certificate, wrong),
            "PENSTOCK_TLS_CERTIFICATE and PENSTOCK_TLS_KEY do not fit: key values mismatch",
        ),
        ((certificate, key, text), "PENSTOCK_TLS_CLIENTS holds no certificates in PEM"),
    ):
        with pytest.raises(WrongSetting, match=message):
            Certificates(*paths)
    with pytest.raises(WrongSetting, match="PENSTOCK_TLS_KEY is missing: TLS needs both"):
        require_usable(InferenceSettings(tls_certificate=certificate))
    with pytest.raises(WrongSetting, match="PENSTOCK_TLS_CERTIFICATE is missing: TLS needs both"):
        certificates_of(InferenceSettings(tls_clients=text))
    assert certificates_of(InferenceSettings()) is None


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(f"# whom we know\n{ALL}\n\n{ONE} trips, others\n")
    return path


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def test_a_call_needs_a_token(tokens: Path) -> None:
    with running({"trips": serving()}, tokens=Tokens(tokens)) as up:
        for token in (ALL, ONE):
            assert up.ask("ModelInfer", packed(ROW), metadata=bearer(token))
        for metadata, text in (
            ((), "this server asks for one 'authorization: Bearer TOKEN'"),
            (bearer(ALL) + bearer(ONE), "this server asks for one 'authorization: Bearer TOKEN'"),
            (bearer("x" * 30), "nobody knows this token"),
            (bearer(ALL[:-1]), "nobody knows this token"),
            (bearer(""), "nobody knows this token"),
            ((("authorization", f"Basic {ALL}"),), "'authorization' is not of the form 'Bearer TOKEN'"),
        ):
            error = up.refused(packed(ROW), metadata=metadata)
            assert (error.code().name, error.details()) == ("UNAUTHENTICATED", text)
        until(lambda: ("ModelInfer", "UNAUTHENTICATED", None) in up.heard.calls)


def test_a_token_is_for_its_pipelines(tokens: Path) -> None:
    with running({"trips": serving(), "rides": serving()}, tokens=Tokens(tokens)) as up:
        mine, theirs = packed(ROW), packed(ROW, model_name="rides")
        assert up.ask("ModelInfer", theirs, metadata=bearer(ALL))
        error = up.refused(theirs, metadata=bearer(ONE))
        assert (error.code().name, error.details()) == (
            "PERMISSION_DENIED",
            "this token is not for a pipeline 'rides' (did you mean 'trips'?)",
        )
        assert up.ask("ModelInfer", mine, metadata=bearer(ONE))
        listed = oip_pb2.RepositoryIndexResponse.FromString(up.ask("RepositoryIndex", metadata=bearer(ONE)))
        assert {each.name for each in listed.models} == {"trips"}
        request = oip_pb2.ModelMetadataRequest(name="rides").SerializeToString()
        with pytest.raises(grpc.RpcError) as caught:
            up.ask("ModelMetadata", request, metadata=bearer(ONE))
        assert caught.value.code().name == "PERMISSION_DENIED"


def test_streams_and_reflection_need_one_and_health_does_not(tokens: Path) -> None:
    with running({"trips": serving()}, tokens=Tokens(tokens)) as up:
        stream = up.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
        with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
            list(stream(iter([packed(ROW)]), timeout=20))
        assert len(list(stream(iter([packed(ROW)]), metadata=bearer(ONE), timeout=20))) == 1
        reflection = reflection_pb2_grpc.ServerReflectionStub(up.channel).ServerReflectionInfo
        asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
        with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
            list(reflection(iter(asked), timeout=20))
        assert list(reflection(iter(asked), metadata=bearer(ALL), timeout=20))
        check = health_pb2_grpc.HealthStub(up.channel).Check
        assert check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=20)


def test_a_file_of_tokens_that_changes_is_read_again(tokens: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "LOOK_SECONDS", 0.0)
    with running({"trips": serving()}, tokens=Tokens(tokens)) as up:
        assert up.ask("ModelInfer", packed(ROW), metadata=bearer(ALL))
        tokens.write_text("another-token-0123456789\n")
        os.utime(tokens, (time.time() + 5,) * 2)
        assert up.refused(packed(ROW), metadata=bearer(ALL)).code().name == "UNAUTHENTICATED"
        assert up.ask("ModelInfer", packed(ROW), metadata=bearer("another-token-0123456789"))
        tokens.write_text("short\n")  # a slip: those who were let in still are
        assert up.ask("ModelInfer", packed(ROW), metadata=bearer("another-token-0123456789"))
        tokens.unlink()
        assert up.ask("ModelInfer", packed(ROW), metadata=bearer("another-token-0123456789"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no token in it"),
        ("# nobody\n\n", "there is no token in it"),
        (f"{ALL}\nshort trips\n", r":2: a token has 16 characters or more"),
    ],
)
def test_a_file_of_tokens_that_cannot_be_used_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(WrongSetting, match=message):
        require_usable(InferenceSettings(tokens=path))
    with pytest.raises(WrongSetting, match=r"PENSTOCK_TOKENS names .* cannot be read"):
        Tokens(tmp_path / "absent")
