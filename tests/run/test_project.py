"""Projects: the file, the job that it gives, and the folder they are kept in."""

from __future__ import annotations

import math
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mien.errors import JobError, MienError, SettingsError
from mien.run import project as documents
from mien.run import toml
from mien.run.project import Part, Person, Project
from mien.run.projects import Conflict, Projects, UnknownProject
from mien.settings import Cue, Encode, Enhance, Key, Mask, Settings, Swap
from tests.regression import running, scenes

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
PLAIN = st.recursive(
    st.booleans() | st.integers(-(2**62), 2**62) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def _same(a: Any, b: Any) -> bool:
    """Equality in which a float is not an integer and nan is itself."""
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


@given(st.dictionaries(TEXT, PLAIN, max_size=6))
def test_toml_is_read_back_by_the_standard_library(table: dict[str, Any]) -> None:
    assert _same(tomllib.loads(toml.text(table)), table)


def test_half_characters_cannot_be_written() -> None:
    with pytest.raises(SettingsError):
        toml.text({"target": "/films/\udcff.mp4"})


def _full(folder: Path) -> Project:
    return Project(
        name='Ana "as" Ben',
        target=folder / "clip.mp4",
        output=folder / "out.mp4",
        start="0:01",
        end="100f",
        people=(Person(id="person1", name="Ana", tracks=(1, 4)), Person(id="guest", name="", tracks=(2,))),
        cast=(
            Part(person="person1", sources=(folder / "a.png", folder / "ä.png"), swap=Swap()),
            Part(person="guest", sources=(folder / "b.png",), off=True, mask=Mask(padding=(0.1, 0, 0, 1))),
            Part(person="person3", enhance=Enhance(model="gfpgan_1.4")),
        ),
        cues=(
            Cue(
                start="1",
                end="2",
                roles=(1,),
                values={"swap.strength": 0.5},
                keys=(Key(at="1.5", show=0.25),),
            ),
            Cue(start="2", show=0.0, ease=0.5, sources=(folder / "c.png",)),
        ),
        settings=Settings(swap=Swap(model="inswapper_128", every=2), encode=Encode(preset="slow")),
    )


def test_a_project_is_read_as_it_was_written(tmp_path: Path) -> None:
    project = _full(tmp_path)
    path = tmp_path / "film.toml"
    documents.write(project, path)
    assert documents.read(path) == project
    assert "format = 1\n" in path.read_text()


def test_relative_paths_are_those_of_the_files_folder(tmp_path: Path) -> None:
    (tmp_path / "film.toml").write_text(
        'target = "clips/a.mp4"\noutput = "../out.mp4"\n'
        '[[cast]]\nperson = "person1"\nsources = ["ana.png", "~/b.png"]\nswap.model = "x.dfm"\n'
        '[[cues]]\nsources = ["c.png"]\nvalues = {"swap.model" = "z.dfm"}\n[settings.swap]\nmodel = "y.dfm"\n'
    )
    project = documents.read(tmp_path / "film.toml")
    assert project.target == tmp_path / "clips/a.mp4"
    assert project.output == tmp_path.parent / "out.mp4"
    assert project.cast[0].sources == (tmp_path / "ana.png", Path.home() / "b.png")
    assert project.cast[0].swap == Swap(model=str(tmp_path / "x.dfm"))
    assert project.cues[0].sources == (tmp_path / "c.png",)
    assert project.settings.swap.model == str(tmp_path / "y.dfm")
    assert project.cues[0].values == {"swap.model": str(tmp_path / "z.dfm")}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("target = ", "is not valid TOML"),
        ('name = "x"\n', "target: field required"),
        ('target = "a"\nsettings.swap.strength = 3\n', "settings.swap.strength"),
        ('target = "a"\nsurprise = 1\n', "surprise"),
        ('target = "a"\nformat = 2\n', "format"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "film.toml"
    path.write_text(content)
    with pytest.raises(SettingsError) as wrong:
        documents.read(path)
    assert wrong.value.subject == str(path)
    assert problem in wrong.value.problem


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    for name in ("a.toml", "none.toml", "."):
        with pytest.raises(JobError):
            documents.read(tmp_path / name)


def test_the_job_of_a_project(tmp_path: Path) -> None:
    project = _full(tmp_path)
    job = project.job()
    assert (job.target, job.output, job.start, job.end) == (project.target, project.output, "0:01", "100f")
    assert job.whole  # ids of tracks are those of the whole clip
    [role] = job.cast  # one part is off, one has no source
    assert (role.sources, role.faces, role.swap) == (project.cast[0].sources, "1,4", Swap())
    assert job.settings == project.settings
    assert job.cues == project.cues
    other = project.job(tmp_path / "other.mp4", start="3", end="4")
    assert (other.output, other.start, other.end) == (tmp_path / "other.mp4", "3", "4")


def test_cues_follow_the_parts_that_are_left(tmp_path: Path) -> None:
    picture = (tmp_path / "a.png",)
    parts = tuple(Part(person=f"person{k}", sources=picture, off=k == 2) for k in (1, 2, 3))
    cues = tuple(
        Cue(start=str(n), roles=roles) for n, roles in enumerate([(1, 2, 3), (2,), (3,), (), (2, 9)])
    )
    project = Project(target=tmp_path / "a.mp4", output=tmp_path / "b.mp4", cast=parts, cues=cues)
    job = project.job()
    assert [role.faces for role in job.cast] == ["person1", "person3"]
    # The cue for person2 alone is gone: one for nobody would be one for all.
    assert [(cue.start, cue.roles) for cue in job.cues] == [
        ("0", (1, 2)),
        ("2", (2,)),
        ("3", ()),
        ("4", (9,)),
    ]


def test_what_gives_no_job(tmp_path: Path) -> None:
    picture = (tmp_path / "a.png",)
    project = Project(target=tmp_path / "a.mp4", cast=(Part(person="person1", sources=picture),))
    with pytest.raises(SettingsError, match="output"):
        project.job()
    for cast in ((), (Part(person="person1"),), (Part(person="person1", sources=picture, off=True),)):
        with pytest.raises(SettingsError, match="cast"):
            project.model_copy(update={"cast": cast}).job(tmp_path / "b.mp4")
    dfm = Part(person="person1", swap=Swap(model="ana.dfm"))  # knows one face, and needs no source
    assert project.model_copy(update={"cast": (dfm,)}).job(tmp_path / "b.mp4").cast[0].sources == ()


def test_revisions(tmp_path: Path) -> None:
    projects = Projects(tmp_path)
    project = Project(name="Ünder the Sun!", target=tmp_path / "a.mp4")
    first = projects.make(project)
    assert first.id.startswith("under-the-sun-")
    assert projects.held(first.id) == first
    second = projects.put(first.id, 1, project.model_copy(update={"start": "1"}))
    assert second.revision == 2
    assert Projects(tmp_path).held(first.id) == second  # another server on the same home
    with pytest.raises(Conflict) as conflict:
        projects.put(first.id, 1, project)
    assert conflict.value.held == second
    (tmp_path / "projects" / first.id / "revision.json").write_text("{")
    assert projects.held(first.id).revision == 1  # it can be told no better
    projects.remove(first.id)
    for call in (projects.held, projects.remove):
        with pytest.raises(UnknownProject):
            call(first.id)


def test_a_stop_between_document_and_revision_counts_as_a_change(tmp_path: Path) -> None:
    projects = Projects(tmp_path)
    held = projects.make(Project(name="a", target=tmp_path / "a.mp4"))
    # As if the process had ended after the first of the two files.
    documents.write(held.project.model_copy(update={"start": "1"}), projects.path(held.id))
    assert projects.held(held.id).revision == 2
    assert projects.put(held.id, 2, held.project).revision == 3


def test_of_many_at_once_one_wins_each_time(tmp_path: Path) -> None:
    projects = Projects(tmp_path)
    held = projects.make(Project(name="a", target=tmp_path / "a.mp4"))
    won: list[int] = []

    def change(number: int) -> None:
        try:
            changed = held.project.model_copy(update={"start": str(number)})
            won.append(projects.put(held.id, 1, changed).revision)
        except Conflict:
            pass

    threads = [threading.Thread(target=change, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [2]


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", "A", "-a", "a-", "x" * 81, "a\0"])
def test_ids_that_no_project_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnknownProject):
        Projects(tmp_path).path(name)


def test_broken_ones_do_not_hide_the_others(tmp_path: Path) -> None:
    projects = Projects(tmp_path)
    held = projects.make(Project(name="a", target=tmp_path / "a.mp4"))
    for name, content in (("bad", b"x = "), ("worse", b"\xff")):
        (tmp_path / "projects" / name).mkdir()
        (tmp_path / "projects" / name / "project.toml").write_bytes(content)
        with pytest.raises(MienError):
            projects.held(name)
    assert projects.all() == (held,)


def test_mien_render_gives_the_bytes_of_the_job(tmp_path: Path, store: Any) -> None:
    """The file through the command line, and its job through the library, in two homes: the same bytes."""
    scenes.portrait("astronaut").reduce(2).save(tmp_path / "ana.png")
    scenes.film(tmp_path / "clip.mp4", scenes.talking("hopper", 6) + scenes.empty(4))
    (tmp_path / "film.toml").write_text(
        'target = "clip.mp4"\nstart = "2f"\n[settings.encode]\npreset = "fastest"\n'
        '[[cast]]\nperson = "person1"\nsources = ["ana.png"]\n'
    )
    homes = [tmp_path / name for name in ("one", "two")]
    for home in homes:
        home.mkdir()
        (home / "models").symlink_to(store.folder, target_is_directory=True)
    said = running.mien("render", tmp_path / "film.toml", "-o", tmp_path / "a.mp4", home=homes[0])
    assert said.returncode == 0, said.stderr
    from mien.run import verbs

    job = documents.read(tmp_path / "film.toml").job(tmp_path / "b.mp4")
    list(verbs.swap(job, home=homes[1]))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    before, after = running.pictures(tmp_path / "clip.mp4")[2:], running.pictures(tmp_path / "b.mp4")
    assert len(after) == 8
    assert all(running.changed(a, b) > 300 for a, b in zip(before[:4], after[:4], strict=True))
    assert all(running.changed(a, b) < 10 for a, b in zip(before[4:], after[4:], strict=True))


def test_a_part_of_a_clip_keeps_the_numbers_of_the_whole(tmp_path: Path, store: Any) -> None:
    """In the whole clip the astronaut is person2; alone in the second half she would be person1."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "models").symlink_to(store.folder, target_is_directory=True)
    scenes.portrait("hopper").reduce(2).save(tmp_path / "hopper.png")
    pictures = scenes.talking("hopper", 6) + scenes.talking("astronaut", 6)
    target = scenes.film(tmp_path / "clip.mp4", pictures, gop=6)
    part = Part(person="person2", sources=(tmp_path / "hopper.png",))
    project = Project(target=target, start="6f", cast=(part,), settings=running.FAST)
    from mien.run import verbs

    *_, finished = verbs.swap(project.job(tmp_path / "out.mp4"), home=home)
    assert finished.frames == 6  # type: ignore[union-attr]
    assert finished.people == 1  # type: ignore[union-attr]
    before, after = running.pictures(target)[6:], running.pictures(tmp_path / "out.mp4")
    assert all(running.changed(a, b) > 300 for a, b in zip(before, after, strict=True))


def test_two_servers_on_one_home_lose_no_change(tmp_path: Path) -> None:
    """Each has a lock of its own; what one writes between the other's look and change is a conflict."""
    servers = [Projects(tmp_path) for _ in range(4)]
    name = servers[0].make(Project(target=tmp_path / "a.mp4", name="0")).id
    kept: list[int] = []

    def change(projects: Projects) -> None:
        done = 0
        while done < 10:
            held = projects.held(name)
            more = str(int(held.project.name) + 1)
            try:
                projects.put(name, held.revision, held.project.model_copy(update={"name": more}))
            except Conflict:
                continue
            done += 1
        kept.append(done)

    threads = [threading.Thread(target=change, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept == [10] * 4
    assert servers[0].held(name).project.name == "40"
    assert servers[0].held(name).revision == 41


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_not_kept(value: float) -> None:
    """JSON has no way to say it, so a page could not change such a project any more."""
    for change in ({"swap.strength": value}, {"mask.padding": (0.0, value, 0.0, 0.0)}):
        with pytest.raises(ValidationError):
            Cue(values=change)
        with pytest.raises(ValidationError):
            Key(at="1", values=change)
