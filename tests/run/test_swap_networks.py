"""The verbs with networks: stand-ins of the real shape and made-up weights, which know nothing of faces."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mien.bench import suite
from mien.errors import ModelError, SettingsError
from mien.models import deepface
from mien.models.card import Card
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.run import verbs, video
from mien.run.job import Folder
from mien.run.place import absolute
from mien.settings import Cue, Detect, Device, Encode, Enhance, Job, Mask, Role, Safety, Settings, Swap, Track
from mien.types import Array, Event, Finished, Progress, Warned
from tests.models.test_deepface import dfm

SWAP = Swap(model="inswapper_128")
LOSSLESS = Encode(codec="ffv1")


@pytest.fixture
def equipped(tmp_path: Path, store: Store) -> Path:
    """A home with small stand-ins of a swapper, an enhancer and an occluder beside the default models."""
    own = tmp_path / "own"
    (own / "models").mkdir(parents=True)
    for path in store.folder.iterdir():
        if path.is_file() and not path.name.startswith(("fetch-", ".")):
            (own / "models" / path.name).symlink_to(path)
    asked = Settings(swap=SWAP, enhance=Enhance(model="gfpgan_1.4"), mask=Mask(occlusion="xseg_1"))
    return suite.equipped(asked, own, small=True)[0]


def _run(job: Job, home: Path, folder: Path | None = None) -> tuple[list[Event], Finished]:
    events = list(verbs.swap(job, folder=folder, home=home))
    last = events[-1]
    assert isinstance(last, Finished)
    return events, last


def _job(material: Path, output: Path, settings: Settings, **changes: object) -> Job:
    role = Role(sources=(material / "face.png",))
    job = Job(target=material / "clip.mp4", output=output, cast=(role,), settings=settings)
    return job.model_copy(update=changes)


def _pictures(path: Path) -> list[Array]:
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="gray").astype(int) for f in container.decode(video=0)]


def _samples(path: Path) -> Array:
    """Every sample of every plane as it was coded: a picture of full range would stretch differences."""
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray().astype(int) for f in container.decode(video=0)])


def test_a_video_through_the_whole_chain(material: Path, equipped: Path, tmp_path: Path) -> None:
    settings = Settings(
        swap=SWAP,
        enhance=Enhance(model="gfpgan_1.4"),
        mask=Mask(occlusion="xseg_1"),
        encode=LOSSLESS,
    )
    _, last = _run(_job(material, tmp_path / "out.mkv", settings), equipped)
    assert {"crop", "swap", "mask", "enhance", "blend", "paste", "embed"} <= set(last.stages)
    assert {"inswapper_128", "gfpgan_1.4", "xseg_1", "arcface_w600k_r50"} <= set(last.engines)
    assert last.networks["inswapper_128"]["items"] >= 32
    assert last.networks["gfpgan_1.4"]["items"] >= 32
    assert last.content.startswith("content not judged")
    before, after = _pictures(material / "clip.mp4"), _pictures(tmp_path / "out.mkv")
    change = np.stack([np.abs(a - b) for a, b in zip(before, after, strict=True)])
    assert len(change) == 32
    assert (change.reshape(32, -1).max(1) > 3).all(), "every face is changed"
    assert not change[:, :, :20].any(), "what is far from the face is not, by not a single code"


def test_networks_make_some_faces_and_the_rest_is_carried(
    material: Path, equipped: Path, tmp_path: Path
) -> None:
    some = Settings(swap=SWAP.model_copy(update={"every": 3}), encode=LOSSLESS)
    _, every = _run(_job(material, tmp_path / "every.mkv", Settings(swap=SWAP, encode=LOSSLESS)), equipped)
    _, last = _run(_job(material, tmp_path / "some.mkv", some), equipped)
    assert every.carried == 0
    assert last.faces == every.faces
    assert last.carried >= 12
    made = every.networks["inswapper_128"]["items"] - last.networks["inswapper_128"]["items"]
    assert made == last.carried, "what is carried no network has seen"
    full, ours = (np.stack(_pictures(tmp_path / name)) for name in ("every.mkv", "some.mkv"))
    before = np.stack(_pictures(material / "clip.mp4"))
    assert np.abs(ours - full).mean() < 0.1 * np.abs(full - before).mean()


@pytest.mark.parametrize("every", [1, 3])
def test_a_continued_run_ends_in_the_same_bytes(
    material: Path, equipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    monkeypatch.setattr(video, "SECONDS", 0.4)
    monkeypatch.setattr("mien.run.report.EVERY", 0.0)
    job = _job(material, tmp_path / "out.mp4", Settings(swap=SWAP.model_copy(update={"every": every})))
    _run(job, equipped, tmp_path / "whole")
    expected = job.output.read_bytes()
    job.output.unlink()
    folder = tmp_path / "stopped"
    events = verbs.swap(job, folder=folder, home=equipped)
    for event in events:
        if isinstance(event, Progress) and event.stage == "render" and event.done >= 20:
            break
    events.close()
    assert Folder(folder).engines()["inswapper_128"]
    continued, _ = _run(job, equipped, folder)
    assert getattr(continued[0], "resumed", 0) > 0
    assert job.output.read_bytes() == expected


def test_another_engine_renders_anew(
    material: Path, equipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "SECONDS", 0.4)
    monkeypatch.setattr("mien.run.report.EVERY", 0.0)
    job, folder = _job(material, tmp_path / "out.mp4", Settings(swap=SWAP)), tmp_path / "job"
    events = verbs.swap(job, folder=folder, home=equipped)
    for event in events:
        if isinstance(event, Progress) and event.stage == "render" and event.done >= 20:
            break
    events.close()
    noted = Folder(folder).engines()
    (folder / "engines.json").write_text(json.dumps({**noted, "inswapper_128": "another one"}))
    continued, last = _run(job, equipped, folder)
    assert any(isinstance(e, Warned) and "other engines" in e.message for e in continued)
    assert last.networks["inswapper_128"]["items"] >= 32


def test_a_clip_that_begins_without_a_face_is_continued(
    material: Path, equipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "SECONDS", 0.4)
    monkeypatch.setattr("mien.run.report.EVERY", 0.0)
    late = tmp_path / "late.mkv"
    with av.open(str(material / "clip.mp4")) as shown, av.open(str(late), "w") as container:
        stream = container.add_stream("ffv1", rate=20)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        gray = av.VideoFrame.from_ndarray(np.full((240, 320, 3), 90, np.uint8), format="rgb24")
        faces = [f.reformat(format="yuv420p") for f in shown.decode(video=0)]
        for number, frame in enumerate([gray.reformat(format="yuv420p")] * 16 + faces):
            frame.pts = number
            frame.time_base = Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    job = _job(material, tmp_path / "out.mkv", Settings(swap=SWAP, encode=LOSSLESS), target=late)
    folder = tmp_path / "job"
    events = verbs.swap(job, folder=folder, home=equipped)
    for event in events:
        if isinstance(event, Progress) and event.stage == "render" and event.done >= 36:
            break
    events.close()
    assert Folder(folder).engines()["inswapper_128"]
    continued, last = _run(job, equipped, folder)
    assert getattr(continued[0], "resumed", 0) >= 16
    assert not any(isinstance(e, Warned) and "rendered again" in e.message for e in continued)
    assert last.networks["inswapper_128"]["items"] < 32


def test_each_role_has_settings_of_its_own(material: Path, equipped: Path, tmp_path: Path) -> None:
    settings = Settings(detect=Detect(score=0.7))
    roles = (
        Role(sources=(material / "face.png",), faces="1", swap=SWAP, mask=Mask(feather=0.2)),
        Role(sources=(material / "face.png",), faces="2", enhance=Enhance(model="gfpgan_1.4"), swap=SWAP),
        Role(sources=(material / "face.png",), faces="3"),
    )
    job = Job(target=material / "six.png", output=tmp_path / "out.png", cast=roles, settings=settings)
    _, last = _run(job, equipped)
    assert last.faces == 3
    assert last.networks["inswapper_128"]["items"] >= 2
    assert last.networks["gfpgan_1.4"]["items"] >= 1
    with Image.open(material / "six.png") as a, Image.open(job.output) as b:
        change = np.abs(np.asarray(a.convert("RGB"), int) - np.asarray(b.convert("RGB"), int)).max(2)
    changed = [
        bool((change[y * 350 : y * 350 + 340, x * 300 : x * 300 + 290] > 3).sum() > 200)
        for y in range(2)
        for x in range(3)
    ]
    assert sum(changed) == 3


def test_strength_of_nothing_swaps_nobody_else_in(material: Path, equipped: Path, tmp_path: Path) -> None:
    pictures = {}
    for strength in (0.0, 0.5, 1.0, 1.3):
        swap = SWAP.model_copy(update={"strength": strength})
        settings = Settings(swap=swap, track=Track(embedder="arcface_w600k_r50"))
        job = Job(
            target=material / "face.png",
            output=tmp_path / f"{strength}.png",
            cast=(Role(sources=(material / "six.png",)),),
            settings=settings,
        )
        _run(job, equipped)
        with Image.open(job.output) as picture:
            pictures[strength] = np.asarray(picture.convert("RGB"), int)
    gaps = [np.abs(pictures[1.0] - pictures[s]).sum() for s in (0.0, 0.5, 1.3)]
    assert gaps[0] > gaps[1] > 0
    assert gaps[2] > 0


def test_a_cue_mixes_identities_as_a_job_does(material: Path, equipped: Path, tmp_path: Path) -> None:
    """Half of the identity for the job, all of it in a cue; a cue that changes nothing changes nothing."""
    half = SWAP.model_copy(update={"strength": 0.5})
    track = Track(embedder="arcface_w600k_r50")
    rows = {}
    for name, swap, cues in (
        ("half", half, ()),
        ("all", SWAP, ()),
        ("cued", half, (Cue(start="10f", end="20f", values={"swap.strength": 1.0}), Cue(show=1.0))),
    ):
        settings = Settings(swap=swap, track=track, encode=LOSSLESS)
        _run(_job(material, tmp_path / f"{name}.mkv", settings, cues=cues), equipped)
        rows[name] = _pictures(tmp_path / f"{name}.mkv")
    for k in range(32):
        assert np.array_equal(rows["cued"][k], rows["all" if 10 <= k < 20 else "half"][k])
        assert not np.array_equal(rows["all"][k], rows["half"][k])


def test_it_is_said_where_strength_cannot_be_had(
    material: Path, equipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.run.casting.SMALLEST", 1e4)
    swap = SWAP.model_copy(update={"strength": 0.5})
    settings = Settings(swap=swap, track=Track(embedder="arcface_w600k_r50"))
    job = Job(
        target=material / "face.png",
        output=tmp_path / "out.png",
        cast=(Role(sources=(material / "six.png",)),),
        settings=settings,
    )
    events, _ = _run(job, equipped)
    said = [e.message for e in events if isinstance(e, Warned) and "swap.strength counts as 1" in e.message]
    assert len(said) == 1
    assert said[0].startswith("track 1:")


def test_a_users_network_changes_pictures_without_a_source(
    material: Path, equipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "in" / name).write_bytes((material / "face.png").read_bytes())
    dfm(tmp_path / "dark.dfm")
    monkeypatch.chdir(tmp_path)
    read, card, asked = list[str](), deepface.card, Swap(model="dark.dfm", colour="none", grain=0.0)

    def counted(path: str) -> Card:
        read.append(path)
        return card(path)

    monkeypatch.setattr(deepface, "card", counted)
    role = Role(sources=(), swap=asked)
    job = Job(target=tmp_path / "in", output=tmp_path / "out", cast=(role, role))
    with pytest.raises(SettingsError, match="source"):
        _run(job.model_copy(update={"cast": (Role(sources=()),)}), equipped)
    _run(job, equipped)
    assert read == [str(tmp_path / "dark.dfm")], "by its absolute name, and once for all"
    assert absolute(job).cast[0].swap == asked.model_copy(update={"model": str(tmp_path / "dark.dfm")})
    for name in ("a.png", "b.png"):
        with Image.open(material / "face.png") as a, Image.open(tmp_path / "out" / name) as b:
            before, after = (np.asarray(picture.convert("RGB"), int) for picture in (a, b))
        changed = (after != before).any(axis=2)
        assert changed.mean() > 0.02
        assert after[changed].mean() < 0.9 * before[changed].mean(), "the network gives half of what it sees"


def test_strength_needs_vectors_of_one_kind(material: Path, equipped: Path, tmp_path: Path) -> None:
    swap = SWAP.model_copy(update={"strength": 0.5})
    job = _job(material, tmp_path / "out.mp4", Settings(swap=swap, track=Track(embedder="none")))
    with pytest.raises(SettingsError, match=r"swap\.strength.*--track\.embedder arcface_w600k_r50"):
        next(verbs.swap(job, home=equipped))


def test_an_animation_goes_through_networks(material: Path, equipped: Path, tmp_path: Path) -> None:
    with Image.open(material / "face.png") as face:
        frames = [
            face.convert("RGB").resize((256, 300)).rotate(k, Image.Resampling.BILINEAR)
            for k in (0, 2, 4, 6, 8)
        ]
    frames[0].save(tmp_path / "in.webp", save_all=True, append_images=frames[1:], duration=80, lossless=True)
    job = Job(
        target=tmp_path / "in.webp",
        output=tmp_path / "out.webp",
        cast=(Role(sources=(material / "face.png",)),),
        settings=Settings(swap=SWAP),
    )
    _, last = _run(job, equipped)
    assert (last.frames, last.faces) == (5, 5)
    assert last.networks["inswapper_128"]["items"] >= 5


def test_networks_that_are_absent_end_it_before_any_work(
    material: Path, equipped: Path, tmp_path: Path
) -> None:
    settings = Settings(swap=Swap(model="hyperswap_1a_256"), enhance=Enhance(model="codeformer"))
    with pytest.raises(ModelError, match=r"hyperswap_1a_256.*codeformer"):
        _run(_job(material, tmp_path / "out.mp4", settings), equipped)
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(swap=Swap(model="gfpgan_1.4")), r"swap\.model: gfpgan_1\.4 is a model for another task"),
        (Settings(swap=Swap(model="inswapper_128", size=200)), r"swap\.size.*128, 256"),
        (Settings(enhance=Enhance(model="nobody")), r"enhance\.model: there is no model 'nobody'"),
        (Settings(mask=Mask(occlusion="xseg_1, what")), r"mask\.occlusion: there is no model 'what'"),
        (Settings(mask=Mask(regions=("skin",), parser="xseg_1")), r"mask\.parser"),
        (Settings(track=Track(refine="facemesh")), r"track\.refine"),
    ],
)
def test_settings_that_do_not_fit_are_named(
    settings: Settings, said: str, material: Path, equipped: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=said):
        next(verbs.swap(_job(material, tmp_path / "out.mp4", settings), home=equipped))


def test_what_mesh_does_not_know_is_said_and_not_loaded(
    material: Path, equipped: Path, tmp_path: Path
) -> None:
    settings = Settings(
        swap=Swap(colour="mean"), enhance=Enhance(model="gfpgan_1.4"), mask=Mask(occlusion="xseg_1")
    )
    job = Job(
        target=material / "face.png",
        output=tmp_path / "out.png",
        cast=(Role(sources=(material / "six.png",)),),
        settings=settings,
    )
    events, last = _run(job, equipped)
    said = [e.subject for e in events if isinstance(e, Warned) and "not for mesh" in e.message]
    assert said == ["swap.colour, mask.occlusion, enhance.model"]
    assert not {"gfpgan_1.4", "xseg_1"} & set(last.engines)
    assert b"restored" not in job.output.read_bytes(), "what was not done is not on the label"


def test_a_gate_that_is_switched_off_says_so(material: Path, equipped: Path, tmp_path: Path) -> None:
    settings = Settings(safety=Safety(content="off"), device=Device(threads=2))
    job = Job(
        target=material / "face.png",
        output=tmp_path / "out.png",
        cast=(Role(sources=(material / "six.png",)),),
        settings=settings,
    )
    events, last = _run(job, equipped)
    assert any(isinstance(e, Warned) and e.subject == "safety.content" for e in events)
    assert last.content == "content not judged: switched off"


def test_frames_that_go_over_a_card_are_the_same(
    material: Path, equipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: make torch")
    exact = Device(engine="torch", precision="f32", processor="cpu")
    settings = Settings(swap=SWAP, encode=LOSSLESS, device=exact)
    _run(_job(material, tmp_path / "here.mkv", settings), equipped)
    # torch's processor stands for the card: the same calls
    monkeypatch.setattr(Runtime, "pixels", "cpu")
    _, last = _run(_job(material, tmp_path / "there.mkv", settings), equipped)
    assert {"upload", "download"} <= set(last.stages)
    here, there = (_samples(tmp_path / f"{name}.mkv") for name in ("here", "there"))
    before = _samples(material / "clip.mp4")
    assert (there != before).any()
    assert (np.abs(here - there) > 1).mean() < 1e-3
    assert np.abs(here - there).max() <= 2
