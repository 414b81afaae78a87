"""Which paths clients may name, and what they are told of folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mien.app.server.errors import Refusal
from mien.app.server.files import Files, kind_of
from mien.errors import MediaError
from mien.run.project import Part, Project
from mien.settings import Cue, Job, Role, Settings, Swap
from tests.app.server.conftest import Place


@pytest.fixture
def files(tmp_path: Path) -> Files:
    for name in ("up", "films/sub", "films/.hidden", "secret"):
        (tmp_path / name).mkdir(parents=True)
    for name in (
        "films/a.mp4",
        "films/10.mp4",
        "films/2.mp4",
        "films/sub/b.png",
        "films/.c.mp4",
        "secret/s.mp4",
    ):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "films/note.txt").write_text("hello")
    (tmp_path / "films/way out").symlink_to(tmp_path / "secret", target_is_directory=True)
    (tmp_path / "films/out.mp4").symlink_to(tmp_path / "secret/s.mp4")
    (tmp_path / "films/within.mp4").symlink_to(tmp_path / "films/a.mp4")
    (tmp_path / "films/circle").symlink_to(tmp_path / "films/circle")
    (tmp_path / "films/mixed").mkdir()
    picture = b"\x89PNG\r\n\x1a\n" + bytes(64)
    for name in ("secret/s.png", "films/mixed/1.png"):
        (tmp_path / name).write_bytes(picture)
    (tmp_path / "films/mixed/2.png").symlink_to(tmp_path / "secret/s.png")
    return Files([(tmp_path / "up").resolve(), (tmp_path / "films").resolve()], tmp_path / "up")


@pytest.mark.parametrize(
    "name",
    [
        "films/../secret/s.mp4",
        "films/way out/s.mp4",
        "films/out.mp4",
        "films/.hidden/x.mp4",
        "films/.c.mp4",
        "filmsx/a.mp4",
        "secret/s.mp4",
        "",
    ],
)
def test_ways_out_are_refused(files: Files, tmp_path: Path, name: str) -> None:
    with pytest.raises(Refusal) as refused:
        files.path(str(tmp_path / name))
    assert refused.value.status == 403


@pytest.mark.parametrize("text", ["films/a.mp4", "", "a\0b", "~", "~/x", "/a\0b", "/" + "x" * 5000])
def test_what_is_no_absolute_path_is_refused(files: Files, text: str) -> None:
    with pytest.raises(Refusal) as refused:
        files.path(text)
    assert refused.value.status in (422, 403)


def test_links_within_the_folders_are_followed(files: Files, tmp_path: Path) -> None:
    assert files.file(str(tmp_path / "films/within.mp4")) == (tmp_path / "films/a.mp4").resolve()


def test_files_and_folders_must_be_there(files: Files, tmp_path: Path) -> None:
    for wrong in (files.file, files.folder):
        with pytest.raises(Refusal) as refused:
            wrong(tmp_path / "films/none")
        assert refused.value.status == 404
    with pytest.raises(Refusal):
        files.file(tmp_path / "films/sub")
    with pytest.raises(Refusal):
        files.folder(tmp_path / "films/a.mp4")


def test_an_output_is_new_or_may_be_overwritten(files: Files, tmp_path: Path) -> None:
    place = tmp_path / "films/a.mp4"
    with pytest.raises(Refusal) as refused:
        files.output(place)
    assert refused.value.status == 409
    assert files.output(place, overwrite=True) == place.resolve()
    assert files.output(tmp_path / "films/new.mp4").name == "new.mp4"
    for wrong in ("none/new.mp4", "secret/new.mp4", "films/way out/new.mp4"):
        with pytest.raises(Refusal):
            files.output(tmp_path / wrong)


def test_patterns_give_allowed_files_in_natural_order(files: Files, tmp_path: Path) -> None:
    found = files.matching(str(tmp_path / "films/*.mp4"))
    assert [path.name for path in found] == ["2.mp4", "10.mp4", "a.mp4"]  # neither hidden nor leading out
    deep = files.matching(str(tmp_path / "films/**/*.png"))
    assert [path.name for path in deep] == ["1.png", "b.png"]
    assert files.matching(str(tmp_path / "films/a.mp4")) == ((tmp_path / "films/a.mp4").resolve(),)
    for wrong in ("*.mp4", str(tmp_path / "*/s.mp4"), str(tmp_path / "films/../secret/*"), "/films/\0*"):
        with pytest.raises(Refusal):
            files.matching(wrong)
    with pytest.raises(Refusal) as none:
        files.matching(str(tmp_path / "films/*.mov"))
    assert none.value.status == 404


def test_links_in_a_folder_of_pictures_are_followed_first(files: Files, tmp_path: Path) -> None:
    """A folder stands for all pictures in it, whatever they are links to."""
    folder, good = tmp_path / "films/sub", tmp_path / "films/a.mp4"
    (folder / "same.png").symlink_to(folder / "b.png")
    (folder / ".hidden").symlink_to(tmp_path / "secret/s.png")  # is none of them
    assert files.source(folder) == folder.resolve()
    mixed = tmp_path / "films/mixed"
    job = Job(target=good, output=tmp_path / "films/new.mp4", cast=(Role(sources=(good,)),))
    for change in (
        {"target": mixed},
        {"cast": (Role(sources=(mixed,)),)},
        {"cast": (Role(sources=(good,), like=(mixed,)),)},
        {"cues": (Cue(sources=(mixed,)),)},
    ):
        with pytest.raises(Refusal, match="outside the allowed folders"):
            files.job(job.model_copy(update=change))


def test_names_with_brackets_are_names_where_there_is_such_a_file(files: Files, tmp_path: Path) -> None:
    odd = tmp_path / "films/clip [1].mp4"
    odd.write_bytes(b"x")
    assert files.matching(str(odd)) == (odd.resolve(),)
    with pytest.raises(Refusal):
        files.matching(str(tmp_path / "films/clip [2].mp4"))
    gone = Project(target=odd, cast=(Part(person="person1", sources=(tmp_path / "films/gone [1].png",)),))
    assert files.project(gone).cast[0].sources == (tmp_path.resolve() / "films/gone [1].png",)


@pytest.mark.parametrize("pattern", ["**/**/*.mp4", "*/**/x/**"])
def test_no_pattern_goes_through_the_same_folders_again(files: Files, tmp_path: Path, pattern: str) -> None:
    with pytest.raises(Refusal, match="is no pattern"):
        files.matching(str(tmp_path / "films" / pattern))


def test_every_file_of_a_job_is_looked_at(files: Files, tmp_path: Path) -> None:
    good, bad = tmp_path / "films/a.mp4", tmp_path / "secret/s.mp4"
    role = Role(sources=(good,))
    job = Job(target=good, output=tmp_path / "films/new.mp4", cast=(role,))
    assert files.job(job).output == (tmp_path / "films/new.mp4").resolve()
    dfm = Swap(model=str(tmp_path / "secret/x.dfm"))
    for change in (
        {"target": bad},
        {"output": tmp_path / "secret/new.mp4"},
        {"cast": (Role(sources=(bad,)),)},
        {"cast": (Role(sources=(good,), like=(bad,)),)},
        {"cast": (Role(sources=(good,), swap=dfm),)},
        {"cues": (Cue(sources=(bad,)),)},
        {"cues": (Cue(values={"swap.model": str(tmp_path / "secret/x.dfm")}),)},
        {"settings": Settings(swap=dfm)},
    ):
        with pytest.raises(Refusal):
            files.job(job.model_copy(update=change))


def test_every_file_of_a_project_is_looked_at(files: Files, tmp_path: Path) -> None:
    good, bad = tmp_path / "films/gone.mp4", tmp_path / "secret/s.mp4"
    project = Project(target=good)
    assert files.project(project).target == good.resolve()  # not there for the moment: it can be saved
    for change in (
        {"target": bad},
        {"output": bad},
        {"cast": (Part(person="person1", sources=(bad,)),)},
        {"cues": (Cue(sources=(bad,)),)},
        {"cues": (Cue(values={"swap.model": str(tmp_path / "secret/x.dfm")}),)},
        {"settings": Settings(swap=Swap(model=str(tmp_path / "secret/x.dfm")))},
        {"cast": (Part(person="person1", swap=Swap(model=str(tmp_path / "secret/x.dfm"))),)},
        {"cast": (Part(person="person1", sources=(tmp_path / "films/way*/s.png",)),)},
        {"cast": (Part(person="person1", sources=(tmp_path / "films/mixed",)),)},
    ):
        with pytest.raises(Refusal):
            files.project(project.model_copy(update=change))


def test_kinds_go_by_content(tmp_path: Path, film: Path) -> None:
    picture = tmp_path / "really.mp4"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    assert kind_of(picture) == "image"
    assert kind_of(film) == "video"
    for name, content in (
        ("list.mp4", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"),
        ("list.ffconcat", b"ffconcat version 1.0\nfile /etc/passwd\n"),
        ("page.mp4", b"<html><script>alert(1)</script></html>"),
        ("junk.mp4", os.urandom(4096)),
        ("empty.mp4", b""),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError):
            kind_of(tmp_path / name)


def test_listing(place: Place) -> None:
    (place.films / "sub").mkdir()
    (place.films / ".hidden.mp4").write_bytes(b"x")
    (place.films / "note.txt").write_text("no media")
    (place.films / "out").symlink_to("/", target_is_directory=True)
    roots = place.client.get("/api/files").json()
    assert [e["name"] for e in roots["entries"]] == ["Uploads", "films"]
    assert roots["folder"] is None
    found = place.client.get("/api/files", params={"folder": str(place.films)}).json()
    assert [(e["name"], e["kind"]) for e in found["entries"]] == [("sub", "folder"), ("two.mp4", "video")]
    assert found["entries"][1]["bytes"] == place.clip.stat().st_size
    assert found["parent"] is None
    assert found["more"] is False
    below = place.client.get("/api/files", params={"folder": str(place.films / "sub")}).json()
    assert below["parent"] == str(place.films)
    for folder, status in (("/", 403), (f"{place.films}/..", 403), (f"{place.films}/out", 403), ("x", 422)):
        answer = place.client.get("/api/files", params={"folder": folder})
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"kind", "subject", "problem", "advice"}
    assert place.client.get("/api/files", params={"folder": f"{place.films}/none"}).status_code == 404
