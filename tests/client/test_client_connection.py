"""How the client gets there: encrypted, with a certificate of its own, with a token."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING

import pytest

from penstock.client import ONCE, AsyncClient, Client, PenstockError, Row, Tls
from tests.client.scripted import Scripted

if TYPE_CHECKING:
    from pathlib import Path

ROW: Row = {"age": 41.0}


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, and a server's and a client's certificate from it."""
    folder: Path = tmp_path_factory.mktemp("pem")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(
        "req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority", "-days", "2"
    )
    (folder / "names").write_text("subjectAltName=DNS:inference.example,IP:127.0.0.1\n")
    for who in ("server", "client"):
        openssl("req", *new, "-keyout", f"{who}.key", "-out", f"{who}.csr", "-subj", f"/CN={who}")
        sign = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{who}.csr", "-out", f"{who}.pem", *sign)
    return folder


def test_the_connection_is_encrypted_to_the_server_that_is_meant(pem: Path) -> None:
    with Scripted(tls=(pem / "server.pem", pem / "server.key")) as server:
        for tls in (Tls(ca=pem / "ca.pem"), Tls(ca=str(pem / "ca.pem"), server_name="inference.example")):
            with Client(server.address, pipeline="churn", tls=tls, seconds=20) as client:
                assert client.predict(ROW).version == 3

        async def story() -> int:
            tls = Tls(ca=pem / "ca.pem")
            async with AsyncClient(server.address, pipeline="churn", tls=tls, seconds=20) as client:
                return (await client.predict(ROW)).version

        assert asyncio.run(story()) == 3
        for wrong in (None, True, Tls(ca=pem / "ca.pem", server_name="somebody.example")):
            with (
                Client(server.address, pipeline="churn", tls=wrong, retry=ONCE, seconds=5) as client,
                pytest.raises(PenstockError) as caught,
            ):
                client.predict(ROW)
            assert caught.value.code == "UNAVAILABLE"


def test_a_server_may_ask_who_the_client_is(pem: Path) -> None:
    own = Tls(ca=pem / "ca.pem", certificate=pem / "client.pem", key=pem / "client.key")
    with Scripted(tls=(pem / "server.pem", pem / "server.key", pem / "ca.pem")) as server:
        with Client(server.address, pipeline="churn", tls=own, seconds=20) as client:
            assert client.predict(ROW).version == 3
        nobody = Tls(ca=pem / "ca.pem")
        with (
            Client(server.address, pipeline="churn", tls=nobody, retry=ONCE, seconds=5) as client,
            pytest.raises(PenstockError),
        ):
            client.predict(ROW)
    with pytest.raises(ValueError, match="given together, or neither"):
        Tls(certificate=pem / "client.pem")


def test_a_token_is_shown_with_each_call() -> None:
    tokens = iter(["first", "second"])
    with Scripted() as server:
        with Client(server.address, pipeline="churn", token=lambda: next(tokens)) as client:
            client.predict(ROW)
            client.predict(ROW)
        with Client(server.address, pipeline="churn", token="third") as client:  # noqa: S106 - made up
            client.predict(ROW)
        with Client(server.address, pipeline="churn") as client:
            client.predict(ROW)
    shown = [each.get("authorization") for each in server.metadata]
    assert shown == ["Bearer first", "Bearer second", "Bearer third", None]


def test_a_token_does_not_leave_the_machine_in_the_clear() -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError, match=r"inference.example:8001 without TLS can be read on its way"):
            kind("inference.example:8001", pipeline="churn", token="secret")  # noqa: S106 - made up
    with Client("inference.example:8001", pipeline="churn", token="secret", tls=False) as client:  # noqa: S106 - as above
        assert client.pipeline == "churn"
