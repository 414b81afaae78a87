"""Which build of a library an import would load."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import onnxruntime
import pytest

from mien.models import engines, installed


def build(place: Path, text: str | None) -> None:
    capi = place / "onnxruntime" / "capi"
    capi.mkdir(parents=True)
    (place / "onnxruntime" / "__init__.py").touch()
    if text is not None:
        (capi / "build_and_package_info.py").write_text(text)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "onnxruntime")
    return tmp_path


def test_the_installed_build_is_the_one_that_an_import_loads() -> None:
    assert installed.onnxruntime() == f"onnxruntime {onnxruntime.__version__}"
    assert installed.versions(("onnxruntime", "numpy", "no-such-package")) == {
        "onnxruntime": onnxruntime.__version__,
        "numpy": importlib.metadata.version("numpy"),
        "no-such-package": "",
    }


def test_a_build_for_cards_counts_also_where_the_plain_one_is_recorded_too(elsewhere: Path) -> None:
    build(elsewhere, "package_name = 'onnxruntime-gpu'\n__version__ = '1.31.1'\ncuda_version = '13.0'\n")
    assert importlib.metadata.version("onnxruntime")  # the record of the plain build
    assert engines.machine().onnxruntime == "onnxruntime-gpu 1.31.1"
    assert "cuda" in engines.machine().computing
    assert installed.versions(("onnxruntime",)) == {"onnxruntime-gpu": "1.31.1"}


def test_a_build_that_says_nothing_of_itself_is_the_plain_one(elsewhere: Path) -> None:
    build(elsewhere, None)
    assert installed.onnxruntime() == f"onnxruntime {importlib.metadata.version('onnxruntime')}"
