"""librdkafka's properties, in which operators speak to all services, in Faust's words."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final

import faust

from penstock.runtime.settings import WrongSetting

# librdkafka accepts both spellings of this one.
_MECHANISMS: Final = ("sasl.mechanism", "sasl.mechanisms")
_KNOWN: Final = frozenset(
    {
        "security.protocol",
        *_MECHANISMS,
        "sasl.username",
        "sasl.password",
        "ssl.ca.location",
        "ssl.certificate.location",
        "ssl.key.location",
        "ssl.key.password",
        "ssl.endpoint.identification.algorithm",
    }
)
_SPOKEN: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def credentials(properties: Mapping[str, str]) -> Any:
    """How Faust is to prove who it is; None on a broker that does not ask.

    What says how to connect (`socket.`, `client.`, `debug`) is for the other clients of this process.

    Raises:
        WrongSetting: there is no word for one of them here, and leaving it out would be less than was asked.

    >>> credentials({}) is None
    True
    >>> credentials({"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN",
    ...              "sasl.username": "monitor", "sasl.password": "…"})
    <SASLCredentials: username=monitor>
    """
    for name in properties:
        if name.startswith(("security.", "sasl.", "ssl.")) and name not in _KNOWN:
            raise _wrong(name, "the monitor cannot speak to Kafka so: leave it out")
    protocol = properties.get("security.protocol", "plaintext").upper()
    if protocol == "PLAINTEXT":
        return None
    if protocol == "SSL":
        return faust.SSLCredentials(_context(properties))
    if protocol not in ("SASL_PLAINTEXT", "SASL_SSL"):
        raise _wrong("security.protocol", "expected PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL")
    mechanism = next((properties[name] for name in _MECHANISMS if name in properties), "")
    if mechanism not in _SPOKEN:
        raise _wrong("sasl.mechanism", f"the monitor speaks {', '.join(_SPOKEN)}")
    return faust.SASLCredentials(
        username=properties.get("sasl.username"),
        password=properties.get("sasl.password"),
        mechanism=mechanism,
        ssl_context=_context(properties) if protocol == "SASL_SSL" else None,
    )


def _context(properties: Mapping[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=properties.get("ssl.ca.location"))
        if certificate := properties.get("ssl.certificate.location"):
            context.load_cert_chain(
                certificate, properties.get("ssl.key.location"), properties.get("ssl.key.password")
            )
    except OSError as error:
        raise _wrong("ssl", f"a certificate or key cannot be read: {error}") from error
    if properties.get("ssl.endpoint.identification.algorithm", "https") == "none":
        context.check_hostname = False  # what the operator has asked for in so many words
    return context


def _wrong(name: str, why: str) -> WrongSetting:
    variable = "PENSTOCK_KAFKA_" + name.upper().replace(".", "_")
    return WrongSetting(f"{variable}: {why}", field=variable, reason="setting")
