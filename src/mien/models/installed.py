"""Which libraries are installed, found without loading them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path

_NAME = re.compile(r"""^package_name\s*=\s*['"]([\w-]+)['"]""", re.MULTILINE)
_VERSION = re.compile(r"""^__version__\s*=\s*['"]([^'"]+)['"]""", re.MULTILINE)


def version(*packages: str) -> str:
    """Version of the first of some packages that is installed; empty where none is."""
    for name in packages:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Package to version, empty where it is absent; the build of ONNX Runtime under its own name."""
    found: dict[str, str] = {}
    for name in packages:
        build, _, number = (
            onnxruntime().partition(" ") if name == "onnxruntime" else (name, "", version(name))
        )
        found[build or name] = number
    return found


def onnxruntime() -> str:
    """Name and version of the build of ONNX Runtime that an import would load; empty where there is none.

    Several builds share one import name, and the one installed last lies on top of the others, whatever the
    packages' records say. So its own files are asked.
    """
    found = importlib.util.find_spec("onnxruntime")
    if found is None or found.origin is None:
        return ""
    try:
        text = (Path(found.origin).parent / "capi" / "build_and_package_info.py").read_text(encoding="utf-8")
    except OSError:
        text = ""
    name, number = _NAME.search(text), _VERSION.search(text)
    if name and number:
        return f"{name[1]} {number[1]}"
    return f"onnxruntime {version('onnxruntime')}".strip()
