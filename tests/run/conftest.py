"""A short clip with a talking face, and a home for jobs that no other test sees."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

from mien.bench import demo
from mien.models.runtime import Runtime
from mien.models.store import Store

SHOT = demo.Shot(size=(320, 240), rate=Fraction(20), seconds=1.6, face=0.17)


@pytest.fixture
def home(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `MIEN_HOME` with the models of this machine and no jobs."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "models").symlink_to(store.folder, target_is_directory=True)
    monkeypatch.setenv("MIEN_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory, runtime: Runtime) -> Path:
    """A folder with `clip.mp4` (32 frames, sound), `face.png`, `nobody.png` and `six.png`."""
    folder = tmp_path_factory.mktemp("material")
    demo.write_clip(folder / "clip.mp4", SHOT, demo.puppet("astronaut", runtime))
    face = Image.fromarray(demo.portrait("hopper"))
    face.save(folder / "face.png")
    Image.radial_gradient("L").convert("RGB").save(folder / "nobody.png")
    six = Image.new("RGB", (900, 700), (90, 110, 140))
    for k in range(6):
        six.paste(face.resize((280, 328)), ((k % 3) * 300 + 10, (k // 3) * 350 + 10))
    six.save(folder / "six.png")
    return folder
