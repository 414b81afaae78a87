"""Files in float16 with islands of float32, for engines that take their precision from the graph."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mien.errors import ModelError
from mien.models import graph_file, mend_fold, mend_half, records
from mien.models.engine import Network
from mien.models.store import AGAIN

_VERSION = 1
"""Of the rules in `mend_half`."""


def half(network: Network) -> Path:
    """The network's file in float16 with float32 edges, made once and kept.

    The file itself where it computes in float16 already.

    Raises:
        ModelError: It cannot be read or kept.
    """
    key = hashlib.sha256(f"{_VERSION} {network.stamp}".encode()).hexdigest()[:16]
    path = network.kept / f"{network.path.stem}-{key}.half.onnx"
    try:
        with records.hold(path.with_suffix(".held")):
            return path if path.is_file() else _made(network, path)
    except (OSError, ValueError) as error:
        problem = f"{network.path.name} cannot be turned into float16: {error}"
        raise ModelError(network.name, problem, AGAIN) from error


def _made(network: Network, path: Path) -> Path:
    parsed = graph_file.read(network.path)
    try:
        if parsed.odd:
            raise ValueError(f"it has {parsed.odd}")
        if mend_fold.halved(parsed):
            return network.path
        parsed.order()
        graph_file.write(mend_half.half(parsed), path)
        return path
    finally:
        parsed.release()
