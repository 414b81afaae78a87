"""What the doctor says of measured choices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.app import doctor
from mien.models import engines
from tests.models import graphs


def test_choices_are_shown_with_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    assert list(doctor.examine()["choices"]) == ["none"]
    data = graphs.affine(2, 1)
    card = graphs.put(tmp_path, graphs.card("doubler", data), data)
    with graphs.runtime(tmp_path) as runtime:
        runtime.session(card).run(np.ones((2, 3, 4, 4), np.float32))
        found = runtime.choices()["doubler"]
    with graphs.runtime(tmp_path, precision="f32") as runtime:
        runtime.session(card).run(np.ones((2, 3, 4, 4), np.float32))
    shown = doctor.examine()["choices"]
    assert list(shown) == ["doubler", "doubler (auto f32 auto)"]
    assert shown["doubler"].startswith(f"{found.label}, {found.ms:.1f} ms each")
    for trial in found.trials:
        assert f"{trial.engine} {trial.precision} {trial.ms:.1f} ms" in shown["doubler"]


def test_cards_and_what_runs_on_them(monkeypatch: pytest.MonkeyPatch) -> None:
    here = engines.machine()
    shown = {
        "none by NVIDIA": replace(here, cards=()),
        "NVIDIA A; CUDA 13.0; networks: torch; pictures: the card where networks change them": replace(
            here, cards=("NVIDIA A",), driver="13.0", torch="2.13.0+cu130", onnxruntime="onnxruntime 1.30"
        ),
    }
    for text, made in shown.items():
        monkeypatch.setattr(engines, "machine", lambda made=made: made)
        assert doctor.examine()["machine"]["graphics processor"] == text
