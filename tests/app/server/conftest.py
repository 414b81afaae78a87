"""A server over a home of its own, and a clip that a real analysis has seen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

from fastapi import FastAPI
from fastapi.testclient import TestClient

from mien.app.server.main import create
from mien.models.store import Store
from mien.run import verbs
from mien.settings import Settings
from tests.media.makers import Sound
from tests.regression import scenes

BASE = "http://127.0.0.1"


@dataclass(frozen=True)
class Place:
    """A server, and where its files lie."""

    app: FastAPI
    client: TestClient
    home: Path
    films: Path
    clip: Path

    def project(self, **more: Any) -> dict[str, Any]:
        """A new project of the clip, as the server answers it."""
        answer = self.client.post("/api/projects", json={"target": str(self.clip), **more})
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people one after the other, 20 frames each, with a tone in the second half."""
    path = tmp_path_factory.mktemp("film") / "two.mp4"
    pictures = scenes.talking("hopper", 20) + scenes.talking("astronaut", 20)
    return scenes.film(path, pictures, sounds=(Sound(0.8, 1.6),), gop=10, rate=Fraction(25))


@pytest.fixture(scope="session")
def analyses(film: Path, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the default models and what pass one found in the film."""
    home = tmp_path_factory.mktemp("analysed")
    (home / "models").symlink_to(store.folder, target_is_directory=True)
    assert list(verbs.analyse(film, None, Settings(), home=home))
    return home


@pytest.fixture
def place(tmp_path: Path, film: Path) -> Iterator[Place]:
    """A server that does no work of its own; nothing is analysed."""
    yield from _served(tmp_path, film)


@pytest.fixture
def seen(tmp_path: Path, film: Path, analyses: Path) -> Iterator[Place]:
    """The same with an analysed clip."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "models").symlink_to(analyses / "models", target_is_directory=True)
    shutil.copytree(analyses / "tracks", home / "tracks")
    yield from _served(tmp_path, film)


def _served(folder: Path, film: Path) -> Iterator[Place]:
    films = folder / "films"
    films.mkdir()
    clip = films / "two.mp4"
    shutil.copy(film, clip)
    app = create(folder / "home", folders=[films], start_worker=False)
    with TestClient(app, base_url=BASE, raise_server_exceptions=False) as client:
        yield Place(app, client, folder / "home", films.resolve(), clip.resolve())
