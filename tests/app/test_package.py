from __future__ import annotations

import subprocess
import sys

import pytest

import mien
from mien import errors, settings, types
from mien.run import verbs


def test_public_names_are_the_real_ones() -> None:
    assert mien.swap is verbs.swap
    assert mien.analyse is verbs.analyse
    assert mien.Job is settings.Job
    assert mien.Finished is types.Finished
    assert mien.MienError is errors.MienError
    assert {"swap", "Job", "Role"} <= set(dir(mien))
    with pytest.raises(AttributeError, match="nonsense"):
        mien.nonsense  # type: ignore[attr-defined]  # noqa: B018


def test_importing_costs_nothing() -> None:
    code = "import sys, mien; print([m for m in ('numpy', 'pydantic', 'av', 'cv2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
