"""Roles as they are typed: SOURCE[,SOURCE...]=WHO, with --source, --faces and --who."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.app import roles
from mien.errors import SettingsError
from mien.settings import Role


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with two pictures, one whose name has a comma and one whose name has a `=`."""
    for name in ("ref.jpg", "ref2.jpg", "b,c.jpg", "x=y.jpg", "left"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def role(sources: str, faces: str = "prominent", like: str = "") -> Role:
    """Names with spaces between them."""
    return Role(sources=tuple(map(Path, sources.split())), faces=faces, like=tuple(map(Path, like.split())))


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("ana.jpg=person1", role("ana.jpg", "person1")),
        ("c1.jpg,c2.jpg=left", role("c1.jpg c2.jpg", "left")),
        ("c1.jpg, c2.jpg = LEFT", role("c1.jpg c2.jpg", "LEFT")),
        ("ana.jpg=1,4", role("ana.jpg", "1,4")),
        ("ana.jpg=person1,person3", role("ana.jpg", "person1,person3")),
        ("ben.mp4=ref2.jpg", role("ben.mp4", like="ref2.jpg")),
        ("ben.mp4=ref.jpg,ref2.jpg", role("ben.mp4", like="ref.jpg ref2.jpg")),
        ("b,c.jpg=all", role("b,c.jpg", "all")),
        ("ana.jpg=b,c.jpg", role("ana.jpg", like="b,c.jpg")),
        ("x=y.jpg=largest", role("x=y.jpg", "largest")),
        ("ana.jpg=x=y.jpg", role("ana.jpg", like="x=y.jpg")),
        ("ana.jpg=left", role("ana.jpg", "left")),
        ("ana.jpg=./left", role("ana.jpg", like="left")),
        ("=person2", role("", "person2")),
    ],
)
def test_one_role(text: str, made: Role, here: Path) -> None:
    assert roles.cast([text], (), "prominent", ()) == (made,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ana.jpg", "has no ="),
        ("ana.jpg=", "'' is neither"),
        ("ana.jpg=person", "'person' is neither a word, a track, a person nor a picture that is there"),
        ("ana.jpg=absent.jpg", "'absent.jpg' is neither"),
        ("ana.jpg=ref.jpg,absent.jpg", "'ref.jpg,absent.jpg' is neither"),
        ("ana.jpg=1,left", "'1,left' is neither"),
    ],
)
def test_a_role_that_is_none_names_the_option(text: str, said: str, here: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        roles.cast(["a=1", text], (), "prominent", ())
    assert caught.value.subject == f"--role {text}"
    assert caught.value.problem.startswith(said)
    assert "ana.jpg=person1" in caught.value.advice


@pytest.mark.parametrize(
    ("given_roles", "source", "faces", "who", "made"),
    [
        ((), ("s.jpg",), "prominent", (), [role("s.jpg")]),
        ((), ("s.jpg",), "prominent", ("r.jpg",), [role("s.jpg", like="r.jpg")]),
        ((), (), "2", (), [role("", "2")]),
        (("a=1", "b=2"), (), "prominent", (), [role("a", "1"), role("b", "2")]),
        (("a=1",), ("s.jpg", "t.jpg"), "all", (), [role("a", "1"), role("s.jpg t.jpg", "all")]),
    ],
)
def test_together(
    given_roles: Sequence[str], source: Sequence[str], faces: str, who: Sequence[str], made: list[Role]
) -> None:
    """`--source` comes after the roles, which therefore take their faces first."""
    found = roles.cast(given_roles, [Path(p) for p in source], faces, [Path(p) for p in who])
    assert list(found) == made


def test_options_that_contradict() -> None:
    with pytest.raises(SettingsError, match="--who: and --faces left both say whose face"):
        roles.cast((), (Path("s"),), "left", (Path("r"),))
    with pytest.raises(SettingsError, match="--who: belongs to --source, which is absent"):
        roles.cast(("a=1",), (), "prominent", (Path("r"),))


@given(st.lists(st.integers(1, 99), min_size=1, max_size=4), st.lists(st.booleans(), min_size=4, max_size=4))
def test_lists_of_tracks_and_persons(numbers: list[int], persons: list[bool]) -> None:
    who = ",".join(f"{'person' if p else ''}{n}" for n, p in zip(numbers, persons, strict=False))
    assert roles.cast([f"a.jpg,b.jpg={who}"], (), "prominent", ()) == (role("a.jpg b.jpg", who),)
