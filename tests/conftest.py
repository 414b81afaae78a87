"""Fixtures that more than one test file uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from mien.errors import ModelError
from mien.models.mediapipe import CARDS
from mien.models.runtime import Runtime
from mien.models.store import Store

# How long an example takes is the machine's business.
hypothesis.settings.register_profile("mien", deadline=None)
hypothesis.settings.load_profile("mien")


LONGEST = ("run", "app")
"""Folders of the tests that take longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no worker waits for the last file of another."""
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(here).parts[0] not in LONGEST)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real media and small real networks, beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "media").is_dir():
        pytest.skip(f"no real media: {folder.name}/media is not beside the repository")
    return folder


@pytest.fixture(scope="session")
def store() -> Store:
    """The user's own store, with every card's files in it."""
    store = Store()
    try:
        for card in CARDS:
            store.locate(card)
    except ModelError as error:
        pytest.skip(f"the default models cannot be fetched here: {error}")
    return store


@pytest.fixture(scope="session")
def runtime(store: Store) -> Iterator[Runtime]:
    """A runtime on two threads, so that results do not depend on the machine."""
    with Runtime(2, store) as runtime:
        yield runtime
