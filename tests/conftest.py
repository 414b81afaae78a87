"""Fixtures that more than one test file uses."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real media and small real networks, beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "media").is_dir():
        pytest.skip(f"no real media: {folder.name}/media is not beside the repository")
    return folder
