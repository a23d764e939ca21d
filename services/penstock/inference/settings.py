"""What inference is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from penstock.runtime.settings import Between, Count, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceSettings(Settings):
    listen: str = "127.0.0.1:8001"
    """Where gRPC is served: HOST:PORT. 0.0.0.0:8001 for every interface."""

    concurrency: Count = 1000
    """gRPC calls at once; further ones are refused with RESOURCE_EXHAUSTED, and told when to come again."""

    tls_certificate: Path | None = None
    """File of the server's certificate and its chain, in PEM. With it and its key calls come over TLS alone;
    a renewed one is used for the next connection."""

    tls_key: Path | None = None
    """File of the certificate's key, in PEM, without a password."""

    tls_clients: Path | None = None
    """File of the authorities, in PEM, whose clients are let in. With it every client needs a certificate."""

    tokens: Path | None = None
    """File of bearer tokens, one a line. With it a call needs one, but for the health service. Names of
    pipelines after a token, with commas between them, are those it is for; without them it is for all."""

    artifacts: Path | None = None
    """Folder where artifacts are kept by their digest, so that a restart reads none from the log. It is a
    cache, and replicas may share it. Unset, nothing is kept."""

    artifacts_megabytes: Annotated[int, Between(64)] = 1024
    """Megabytes of them; those that were longest not used go first."""

    scoring_threads: Count = 1
    """Threads that score what takes longer than a tenth of a millisecond a row, several calls' rows together.
    What is faster is scored where its call is read."""

    scoring_cpus: str = ""
    """Processors that these threads run on, and onnxruntime's own: numbers and ranges, such as 2-5,7. Any
    where it is empty."""

    onnx_threads: Count = 1
    """Threads of one run of a model, for models of several milliseconds."""
