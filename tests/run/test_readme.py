"""The Python that README and docs show, run as it is written there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

import mien

ROOT = Path(__file__).parents[2]


def _programs(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def folder(material: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with `clip.mp4`, `ana.jpg`, `ana2.jpg` and `ben.jpg`."""
    (tmp_path / "clip.mp4").write_bytes((material / "clip.mp4").read_bytes())
    with Image.open(material / "face.png") as face:
        for name in ("ana.jpg", "ana2.jpg", "ben.jpg"):
            face.save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_readme(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = _programs("README.md")
    exec(compile(program, "README.md", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert said[-1].startswith(f"{folder / 'out.mp4'} 32 ")
    assert "render: 32/32" in said
    assert (folder / "out.mp4").is_file()


def test_page_about_python(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = _programs("docs/learn/python.md")
    exec(compile(first.replace('"12.5"', '"1.25"'), "python.md", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("Started(")
    assert said[-1].startswith("Finished(")
    assert (folder / "out.mp4").is_file()
    exec(compile(second, "python.md", "exec"), {"Path": Path, "mien": mien})
    assert capsys.readouterr().out.splitlines() == ["1 1 0 32"]
