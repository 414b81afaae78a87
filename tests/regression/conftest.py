"""A home of its own for every test, and networks that are loaded once for all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.run import order, video
from tests.regression import scenes


class Kept:
    """A runtime that stays open when a run is done with it."""

    def __init__(self, runtime: Runtime) -> None:
        self.session = runtime.session
        self._runtime = runtime

    def close(self) -> None:
        pass

    def __enter__(self) -> Runtime:
        return self._runtime

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def home(tmp_path: Path, store: Store, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `MIEN_HOME` without jobs; runs in this process share the session's loaded networks."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "models").symlink_to(store.folder, target_is_directory=True)
    monkeypatch.setenv("MIEN_HOME", str(folder))

    def loaded(*given: object) -> Kept:
        return Kept(runtime)

    for module in (order, video):
        monkeypatch.setattr(module, "Runtime", loaded)
    return folder


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the portraits `hopper.png` and `astronaut.png`, half as large so that runs are quick."""
    folder = tmp_path_factory.mktemp("faces")
    for name in scenes.FACES:
        scenes.portrait(name).reduce(2).save(folder / f"{name}.png")
    return folder
