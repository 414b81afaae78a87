"""People told apart by two small real networks, in films and pictures of two public-domain portraits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien import pipeline
from mien.bench.demo import Name
from mien.errors import NoFaceError
from mien.faces import people
from mien.media import clip as clips
from mien.media import decode
from mien.models import detect, embed
from mien.models.card import Card, File, Pixels, Tensor
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.run import casting
from mien.run.still import as_tracks
from mien.settings import Detect, Job, Role, Settings
from mien.types import Float32, Frame, Tracks, Warned
from tests.faces import portraits
from tests.models import networks
from tests.regression import scenes

RETAIL = replace(
    embed.RETAIL,
    name="small_retail",
    files=(File("face-reidentification-retail-0095_fp16w.onnx"),),
    outputs=(Tensor("", (256,)),),
)
"""The same weights in another format."""
MOBILE = Card(
    name="small_mobilefacenet",
    task="embed",
    files=(File("mobilefacenet_foamliu_raw.onnx"),),
    licence="Apache-2.0",
    inputs=(Tensor("input0", (3, 112, 112)),),
    outputs=(Tensor("output0", (128,)),),
    pixels=Pixels(112, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    template="arcface_112_v2",
    same=0.45,
    tolerance=0.0,
)
PICTURES = ("pd01_astronaut.png", "pd02_grace_hopper.jpg")


@pytest.fixture(scope="module")
def known(store: Store, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A runtime that has both networks."""
    home = tmp_path_factory.mktemp("known") / "home"
    with networks.real(store, shared, home, (RETAIL, MOBILE)) as runtime:
        yield runtime


def settings(name: str) -> Settings:
    return Settings.model_validate({"track": {"embedder": name}})


def analysed(frames: Iterator[Frame], runtime: Runtime, name: str, folder: Path, total: int) -> Tracks:
    work = pipeline.analyse(
        frames, runtime, settings(name), total=total, rate=Fraction(25), spill=folder / "spill"
    )
    while True:
        try:
            next(work)
        except StopIteration as finished:
            tracks: Tracks = finished.value
            return tracks


def filmed(pictures: Sequence[scenes.Picture]) -> Iterator[Frame]:
    """Pictures as frames in order."""
    for index, picture in enumerate(pictures):
        frame = portraits.frame(picture.astype(np.float32) / np.float32(255))
        yield Frame(frame.planes, frame.layout, frame.colour, index, index, frame.display)


def meant(job: Job, runtime: Runtime, name: str) -> tuple[tuple[Float32 | None, ...], list[Warned]]:
    """What the roles' pictures give, and what is said of them."""
    work, said = casting.meant(job, runtime, settings(name)), []
    while True:
        try:
            said.append(next(work))
        except StopIteration as finished:
            return finished.value, said


def job(*likes: Path) -> Job:
    roles = tuple(Role(sources=(Path("new.jpg"),), like=(path,)) for path in likes)
    return Job(target=Path("in.mp4"), output=Path("out.mp4"), cast=roles)


@pytest.fixture(scope="module", params=[RETAIL, MOBILE], ids=["retail", "mobilefacenet"])
def film(
    request: pytest.FixtureRequest, known: Runtime, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Card, Tracks]:
    """She; she mirrored beside Hopper; Hopper alone."""
    clip = clips.probe(shared / "media/pd_x10_720p25.mp4")
    index = clips.index(clip)
    frames = decode.frames(clip, index, writable=False)
    folder = tmp_path_factory.mktemp("film")
    return request.param, analysed(frames, known, request.param.name, folder, len(index))


def test_two_persons_over_three_shots(film: tuple[Card, Tracks]) -> None:
    card, tracks = film
    assert tracks.embedder == card.name
    found = sorted((t.start, t.end, round(float(t.box[0, 0]) / tracks.size[0])) for t in tracks.tracks)
    assert [span[:2] for span in found] == [(0, 51), (51, 101), (51, 101), (101, 150)]
    one, two = people.cast(tracks)
    assert sorted(one.spans) == [(0, 51), (51, 101)]
    assert sorted(two.spans) == [(51, 101), (101, 150)]
    assert len(people.select(tracks, "prominent")) == 2


def test_each_picture_finds_its_person(film: tuple[Card, Tracks], known: Runtime, shared: Path) -> None:
    card, tracks = film
    one, two = people.cast(tracks)
    pictures = [shared / "media" / name for name in PICTURES]
    for order in (pictures, pictures[::-1]):
        wanted = job(*order)
        vectors, said = meant(wanted, known, card.name)
        found = dict(zip(order, casting.assign(wanted, tracks, vectors, card.same), strict=True))
        assert [found[path] for path in pictures] == [tuple(sorted(p.tracks)) for p in (one, two)]
        assert said == []


def test_somebody_else_is_nobody(film: tuple[Card, Tracks], known: Runtime, shared: Path) -> None:
    card, tracks = film
    wanted = job(shared / "media/l15_pexels_man_beard.jpg")
    vectors, _ = meant(wanted, known, card.name)
    with pytest.raises(NoFaceError, match=r"nobody in in\.mp4 surely looks like this: person"):
        casting.assign(wanted, tracks, vectors, card.same)


def test_what_is_said_of_a_picture(known: Runtime, shared: Path) -> None:
    _, said = meant(job(shared / "media/l13_two_men_handshake.jpg"), known, RETAIL.name)
    assert [warned.message for warned in said] == ["shows 2 faces; the largest is looked for"]
    with pytest.raises(NoFaceError, match=r"l10_no_face\.jpg: shows no face"):
        meant(job(shared / "media/l10_no_face.jpg"), known, RETAIL.name)


def tilted(name: Name, degrees: float, height: float) -> scenes.Picture:
    """Mirrored, with the head on one side."""
    picture = Image.fromarray(scenes.close(name, height=height)).rotate(degrees, Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(picture, np.uint8)[:, ::-1])


@pytest.mark.parametrize("card", [RETAIL, MOBILE], ids=["retail", "mobilefacenet"])
def test_crossing_then_coming_back_after_a_cut(card: Card, known: Runtime, tmp_path: Path) -> None:
    """The one behind is lost while they cross; after the cut each comes back tilted, mirrored and larger."""
    steps = [round(k / 39 * 196) for k in range(40)]
    shots = [scenes.together([("hopper", 206 - s, 22), ("astronaut", 10 + s, 28)]) for s in steps]
    shots += [tilted("hopper", 10.0 + k / 3, 0.7) for k in range(15)]
    shots += [tilted("astronaut", -10.0 - k / 3, 0.6) for k in range(15)]
    tracks = analysed(filmed(shots), known, card.name, tmp_path, len(shots))
    assert tracks.shots == (0, 40, 55)
    she = next(t.person for t in tracks.tracks if t.start == 0 and t.box[0, 0] < 160)
    hopper = next(t.person for t in tracks.tracks if t.start == 0 and t.box[0, 0] > 160)
    assert she != hopper
    assert {t.person for t in tracks.tracks if t.shot == 1} == {hopper}
    assert {t.person for t in tracks.tracks if t.shot == 2} == {she}
    assert {t.person for t in tracks.tracks} == {she, hopper}
    before = analysed(filmed(shots), known, "none", tmp_path, len(shots))
    assert before.embedder == ""
    assert all(t.embedding is None for t in before.tracks)


def test_in_a_picture_each_face_has_its_own(known: Runtime, shared: Path) -> None:
    (frame,) = filmed([scenes.together([("hopper", 180, 20), ("astronaut", 30, 28)], height=150)])
    tracks = as_tracks(frame, detect.find(known, frame, Detect()))
    assert len(tracks.tracks) == 2
    tracks = casting.recognised(frame, tracks, known, RETAIL)
    wanted = job(*(shared / "media" / name for name in PICTURES))
    vectors, _ = meant(wanted, known, RETAIL.name)
    ((she,), (hopper,)) = casting.assign(wanted, tracks, vectors, RETAIL.same)
    left = {t.id: float(t.box[0, 0]) for t in tracks.tracks}
    assert left[she] < 160 < left[hopper]
    vectors, _ = meant(job(wanted.cast[1].like[0]), known, RETAIL.name)
    assert casting.assign(job(wanted.cast[1].like[0]), tracks, vectors, RETAIL.same) == ((hopper,),)
