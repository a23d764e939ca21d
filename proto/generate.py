"""Generate the messages of the Open Inference Protocol: ``python -m proto.generate [FOLDER]``."""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]  # it ships no types

HERE = Path(__file__).parent
CONTRACTS = HERE.parent / "services" / "penstock" / "contracts"


def generate(folder: Path) -> None:
    """Write ``oip_pb2.py`` and its types, ``oip_pb2.pyi``, to `folder`."""
    # The left side of the include path is the name the module gets; the right side, where the text is.
    include = f"-Ioip.proto={HERE / 'open_inference.proto'}"
    if protoc.main(["protoc", include, f"--python_out={folder}", f"--pyi_out={folder}", "oip.proto"]):
        raise SystemExit("protoc failed")
    types = folder / "oip_pb2.pyi"
    # protoc writes a bare Mapping where a message may be given as a dictionary, which mypy --strict refuses.
    types.write_text(types.read_text().replace("_Mapping]", "_Mapping[str, object]]"))


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else CONTRACTS)
