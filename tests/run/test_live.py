"""A live run: frames step by step through real threads, driven by the test instead of by time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mien.errors import MediaError, MienError, NoFaceError, SettingsError
from mien.images import frameclock
from mien.media import clip as clips
from mien.media.camera import RATE, TICKS, Item, Pace, Reader, Shot, Sound, Timeline
from mien.media.decode import frames, views
from mien.media.layouts import LAYOUTS
from mien.run import live as live_
from mien.run import scene
from mien.run.live import Happening, Live
from mien.run.pulse import Sight
from mien.settings import Encode, Feed, Mask, Role, Settings, Swap, Track
from mien.types import Array, Finished, Frame, Warned

PATIENCE = 60.0
"""Seconds after which a test that waits for a thread gives up."""


class Paper:
    """A clock that stands still but for what is waited for."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def until(self, moment: float) -> bool:
        self.time = max(self.time, moment)
        return True


class Screen:
    """An output that keeps what it is shown."""

    name = "screen"

    def __init__(self, luma: bool = True) -> None:
        self.frames: list[tuple[int, tuple[Array, ...]]] = []
        self.heard: list[Sound] = []
        self.shown = threading.Semaphore(0)
        self.closed = False

    def picture(self, frame: Frame) -> None:
        self.frames.append((frame.pts, tuple(plane.copy() for plane in frame.planes)))
        self.shown.release()

    def sound(self, sound: Sound) -> None:
        self.heard.append(sound)

    def close(self) -> None:
        self.closed = True


class Lockstep:
    """Reads an input; after each picture it waits until that was shown, then calls `after` with a number."""

    def __init__(
        self, screen: Screen, after: Callable[[int], None] = lambda number: None, most: int = 1 << 30
    ) -> None:
        self.screen, self.after, self.most = screen, after, most

    def __call__(self, feed: Feed, pace: Pace, timeline: Timeline) -> Iterable[Item]:
        self.reader = Reader(feed, pace, timeline)
        return self

    @property
    def rate(self) -> Fraction:
        return self.reader.rate

    @property
    def audible(self) -> bool:
        return self.reader.audible

    def __iter__(self) -> Iterator[Item]:
        count = 0
        for item in self.reader:
            yield item
            if isinstance(item, Shot):
                assert self.screen.shown.acquire(timeout=PATIENCE), "the frame never came out"
                self.after(count)
                count += 1
                if count >= self.most:
                    return


def run(
    material: Path,
    home: Path,
    feed: Feed,
    settings: Settings,
    screen: Screen,
    after: Callable[[Live, int], None] = lambda run, number: None,
    most: int = 1 << 30,
) -> tuple[list[Happening], Live]:
    made: list[Live] = []
    step = Lockstep(screen, lambda number: after(made[0], number), most)
    cast = [Role(sources=(material / "face.png",))]
    made.append(Live(feed, cast, settings, [screen], home=home, pace=Paper(), reading=step))
    return list(made[0].events()), made[0]


def original(clip: Path) -> list[Frame]:
    facts = clips.probe(clip)
    return list(frames(facts, clips.index(facts)))


def apart(a: tuple[Array, ...], b: tuple[Array, ...]) -> Array:
    """(h, w) whether the luma of two pictures differs."""
    return np.asarray(a[0] != b[0])


def test_only_the_face_changes_and_every_frame_keeps_its_time(material: Path, home: Path) -> None:
    screen = Screen()
    feed = Feed(input=str(material / "clip.mp4"), label=False)
    events, made = run(material, home, feed, Settings(), screen)
    given = original(material / "clip.mp4")
    assert [pts for pts, _ in screen.frames] == [TICKS // 20 * k for k in range(32)]
    changed = np.zeros(given[0].planes[0].shape, bool)
    for shown, frame in zip(screen.frames, given, strict=True):
        here = apart(shown[1], frame.planes)
        assert here.any()
        changed |= here
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    width, height = given[0].size
    # the places of one moving face: everything else is bit for bit what came in
    assert np.ptp(rows) < 0.55 * height
    assert np.ptp(columns) < 0.4 * width
    ended = events[-1]
    assert isinstance(ended, Finished)
    assert (ended.frames, ended.faces, ended.people) == (32, 32, 1)
    pulse = made.pulse()
    assert (pulse.captured, pulse.made, pulse.dropped) == (32, 32, 0)
    assert screen.closed
    said = [event.subject for event in events if isinstance(event, Warned)]
    assert "feed.label" in said


def test_the_label_is_drawn_unless_switched_off(material: Path, home: Path) -> None:
    shown = {}
    for label in (True, False):
        screen = Screen()
        feed = Feed(input=str(material / "clip.mp4"), label=label)
        shown[label] = (run(material, home, feed, Settings(), screen, most=3)[0], screen.frames)
    first = apart(shown[True][1][0][1], shown[False][1][0][1])
    rows, columns = np.nonzero(first)
    assert len(rows) > 100
    assert rows.max() < 60
    assert columns.max() < 120
    assert all(
        np.array_equal(apart(a[1], b[1]), first) for a, b in zip(*(s[1] for s in shown.values()), strict=True)
    )


def test_a_setting_counts_from_the_next_frame(material: Path, home: Path) -> None:
    screen = Screen()
    strengths = {9: 0.0, 19: 1.0}

    def after(made: Live, number: int) -> None:
        if number in strengths:
            swap = Swap(strength=strengths[number])
            assert made.change(settings=made.asked.settings.model_copy(update={"swap": swap}))

    feed = Feed(input=str(material / "clip.mp4"), label=False)
    run(material, home, feed, Settings(), screen, after)
    given = original(material / "clip.mp4")
    same = [not apart(p, f.planes).any() for (_, p), f in zip(screen.frames, given, strict=True)]
    assert same == [10 <= k <= 19 for k in range(32)]


def test_a_change_while_the_first_scene_is_prepared_counts(
    material: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen()
    first = scene.made
    asked: list[Live] = []

    def preparing(*given: Any) -> Generator[Any, None, scene.Scene]:
        found = yield from first(*given)
        if not asked:
            asked.append(made)
            made.change(settings=Settings(swap=Swap(strength=0.0)))
        return found

    def after(number: int) -> None:
        if not made.pending:
            settled.append(number)
            if len(settled) == 3:
                made.stop()

    settled: list[int] = []
    monkeypatch.setattr(scene, "made", preparing)
    feed = Feed(input=str(material / "clip.mp4"), label=False, loop=True)
    cast = [Role(sources=(material / "face.png",))]
    step = Lockstep(screen, after, most=5000)
    made = Live(feed, cast, Settings(), [screen], home=home, pace=Paper(), reading=step)
    list(made.events())
    given = original(material / "clip.mp4")
    last = settled[-1]
    assert not apart(screen.frames[last][1], given[last % 32].planes).any()


def test_following_goes_on_through_a_change_of_the_mask(material: Path, home: Path) -> None:
    screen = Screen()

    def after(made: Live, number: int) -> None:
        if number == 15:
            assert made.change(settings=Settings(mask=Mask(grow=-0.2)))

    feed = Feed(input=str(material / "clip.mp4"), label=False)
    run(material, home, feed, Settings(), screen, after)
    area = [
        apart(p, f.planes).sum()
        for (_, p), f in zip(screen.frames, original(material / "clip.mp4"), strict=True)
    ]
    assert max(area[16:]) < min(area[:16])


def test_other_ways_of_following_count_too(material: Path, home: Path) -> None:
    screen = Screen()

    def after(made: Live, number: int) -> None:
        if number == 10:
            assert made.change(settings=Settings(track=Track(smooth=0.0)))

    feed = Feed(input=str(material / "clip.mp4"), label=False)
    events, _ = run(material, home, feed, Settings(), screen, after)
    assert isinstance(events[-1], Finished)
    assert events[-1].faces == 32


def test_another_source_is_prepared_while_frames_go_on(material: Path, home: Path) -> None:
    screen = Screen()
    asked: list[int] = []

    def after(made: Live, number: int) -> None:
        if number == 5:
            assert not made.change(cast=[Role(sources=(material / "six.png",))])
        if number > 5 and not made.pending:
            asked.append(number)
            if len(asked) == 3:
                made.stop()

    feed = Feed(input=str(material / "clip.mp4"), label=False, loop=True)
    events, made = run(material, home, feed, Settings(), screen, after, most=5000)
    steps = [b - a for (a, _), (b, _) in pairwise(screen.frames)]
    assert set(steps) == {TICKS // 20}, "no frame was left out"
    assert made.pulse().dropped == 0
    assert "face" in "".join(str(e) for e in events if isinstance(e, Warned)), "six faces are told of"
    # the same picture of the loop before and after
    last = len(screen.frames) - 1
    assert apart(screen.frames[last][1], screen.frames[last % 32][1]).any() or last < 32


def test_what_cannot_be_leaves_everything_as_it_is(material: Path, home: Path) -> None:
    screen = Screen()
    waited: list[int] = []

    def after(made: Live, number: int) -> None:
        if number == 3:
            with pytest.raises(SettingsError):
                made.change(settings=Settings(swap=Swap(model="nosuch")))
            assert made.asked.settings == Settings()
            made.change(cast=[Role(sources=(material / "nobody.png",))])
        if number > 3 and not made.pending:
            waited.append(number)
            made.stop()

    feed = Feed(input=str(material / "clip.mp4"), label=False, loop=True)
    events, made = run(material, home, feed, Settings(), screen, after, most=5000)
    assert waited
    said = [str(e.message) for e in events if isinstance(e, Warned)]
    assert any("shows no face; everything stays as it was" in text for text in said)
    assert made.asked.cast == (Role(sources=(material / "face.png",)),)
    assert apart(
        screen.frames[-1][1], original(material / "clip.mp4")[(len(screen.frames) - 1) % 32].planes
    ).any()


class Slow:
    """Stands for the work on a frame: it lasts until the test lets it go."""

    entered = threading.Semaphore(0)
    allowed = threading.Semaphore(0)

    def __init__(self, clock: object) -> None:
        pass

    def __call__(self, shot: Shot, scene: object, rate: float) -> tuple[Frame, list[int], tuple[Sight, ...]]:
        self.entered.release()
        assert self.allowed.acquire(timeout=PATIENCE)
        return shot.frame, [], ()

    def draw(self, *_: object) -> None:
        pass


def test_the_newest_frame_wins(material: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_, "Handwork", Slow)
    monkeypatch.setattr(Slow, "entered", threading.Semaphore(0))
    monkeypatch.setattr(Slow, "allowed", threading.Semaphore(0))
    screen, drops = Screen(), []
    made: list[Live] = []

    def reading(feed: Feed, pace: Pace, timeline: Timeline) -> Iterator[Item]:
        pictures = [item for item in Reader(feed, pace, timeline) if isinstance(item, Shot)]
        for k, shot in enumerate(pictures[:8]):
            yield shot  # goes on when it has been handed over
            if k in (0, 3):  # the next is begun while 1 to 3 come in, then 4 to 7
                if k == 3:
                    Slow.allowed.release()
                assert Slow.entered.acquire(timeout=PATIENCE)
            drops.append(made[0].pulse().dropped)
        Slow.allowed.release(2)

    feed = Feed(input=str(material / "clip.mp4"))
    cast = [Role(sources=(material / "face.png",))]
    made.append(Live(feed, cast, outputs=[screen], home=home, pace=Paper(), reading=reading))
    list(made[0].events())
    assert [pts // (TICKS // 20) for pts, _ in screen.frames] == [0, 3, 7]
    assert drops == [0, 0, 1, 2, 2, 3, 4, 5]
    pulse = made[0].pulse()
    assert (pulse.captured, pulse.made, pulse.dropped) == (8, 3, 5)


def test_sound_goes_through_to_the_sample_and_is_held_back_as_asked(material: Path, home: Path) -> None:
    heard = {}
    for delay in (0.0, 125.0):
        screen = Screen()
        run(material, home, Feed(input=str(material / "clip.mp4"), delay=delay), Settings(), screen)
        heard[delay] = screen.heard
    given = [
        item for item in Reader(Feed(input=str(material / "clip.mp4")), Paper()) if isinstance(item, Sound)
    ]
    assert [s.start for s in heard[0.0]] == [s.start for s in given]
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(heard[0.0], given, strict=True))
    assert [s.start - RATE // 8 for s in heard[125.0]] == [s.start for s in given]


def test_the_clock_in_the_picture_is_the_time_of_capture(material: Path, home: Path) -> None:
    screen = Screen()
    feed = Feed(input=str(material / "clip.mp4"), clock=True)
    run(material, home, feed, Settings(), screen, most=10)
    found = [frameclock.read(planes[0]) for _, planes in screen.frames]
    assert found[1:] == [50_000 * k for k in range(1, 10)]  # 0 is told from a black strip by nobody


def test_a_recording_is_the_frames_and_says_what_it_is(material: Path, home: Path, tmp_path: Path) -> None:
    screen, target = Screen(), tmp_path / "out.mkv"
    step = Lockstep(screen)
    feed = Feed(input=str(material / "clip.mp4"))
    cast = [Role(sources=(material / "face.png",))]
    settings = Settings(encode=Encode(quality=100))
    made = Live(feed, cast, settings, [screen, str(target)], home=home, pace=Paper(), reading=step)
    list(made.events())
    with av.open(str(target)) as file:
        assert "compositeWithTrainedAlgorithmicMedia" in file.metadata["DIGITAL_SOURCE_TYPE"]
        assert file.streams.audio
        found = list(file.decode(video=0))
    assert [round(1000 * (f.time or 0.0)) for f in found] == [50 * k for k in range(32)]
    for picture, (_, planes) in zip(found, screen.frames, strict=True):
        assert np.array_equal(views(picture, LAYOUTS["yuv420p"])[0], planes[0])
    assert not list(tmp_path.glob("*.part*"))


class Broken:
    """An output that takes so many frames."""

    def __init__(self, most: int, name: str = "broken") -> None:
        self.most, self.name = most, name

    def picture(self, frame: Frame) -> None:
        if self.most == 0:
            raise MediaError(self.name, "takes no more", "See that somebody receives it.")
        self.most -= 1

    def sound(self, sound: Sound) -> None:
        pass

    def close(self) -> None:
        pass


def test_an_output_that_fails_is_left_out(material: Path, home: Path) -> None:
    screen = Screen()
    step = Lockstep(screen)
    cast = [Role(sources=(material / "face.png",))]
    feed = Feed(input=str(material / "clip.mp4"))
    made = Live(feed, cast, outputs=[Broken(5), screen], home=home, pace=Paper(), reading=step)
    events = list(made.events())
    assert len(screen.frames) == 32
    assert [e.message for e in events if isinstance(e, Warned) and e.subject == "broken"] == [
        "takes no more; it is left out from now on"
    ]


def test_without_any_output_left_it_ends(material: Path, home: Path) -> None:
    feed = Feed(input=str(material / "clip.mp4"), loop=True)
    cast = [Role(sources=(material / "face.png",))]
    made = Live(feed, cast, outputs=[Broken(2)], home=home, pace=Paper())
    with pytest.raises(MediaError, match="takes no more"):
        list(made.events())


def test_a_stream_is_opened_again_a_recording_is_not(material: Path, home: Path) -> None:
    opened: list[str] = []

    def opening(name: str, *_: Any, **__: Any) -> Broken:
        opened.append(name)
        return Broken(4 if len(opened) < 3 else 1 << 30, name)

    screen = Screen()
    cast = [Role(sources=(material / "face.png",))]
    feed = Feed(input=str(material / "clip.mp4"))
    made = Live(
        feed,
        cast,
        outputs=["udp://far:1", screen],
        home=home,
        pace=Paper(),
        reading=Lockstep(screen),
        opening=opening,
    )
    events = list(made.events())
    assert not [e for e in events if isinstance(e, Warned)]
    # 4 frames, the 5th fails, half a second (10 frames) without, and again
    assert len(opened) == 3
    assert isinstance(events[-1], Finished)
    assert events[-1].output == "udp://far:1"


@pytest.mark.parametrize(
    ("feed", "source", "error"),
    [
        ("nosuch.mp4", "face.png", MediaError),
        ("clip.mp4", "nobody.png", NoFaceError),
        ("clip.mp4", "x.png", MienError),
    ],
)
def test_what_is_wrong_at_the_beginning(
    material: Path, home: Path, feed: str, source: str, error: type[MienError]
) -> None:
    made = Live(Feed(input=str(material / feed)), [Role(sources=(material / source,))], home=home)
    with pytest.raises(error):
        list(made.events())


def test_closing_the_events_ends_everything(material: Path, home: Path) -> None:
    screen = Screen()
    before = threading.active_count()
    cast = [Role(sources=(material / "face.png",))]
    feed = Feed(input=str(material / "clip.mp4"), loop=True)
    made = Live(feed, cast, outputs=[screen], home=home, pace=Paper())
    events = made.events()
    next(events)
    worker = threading.Thread(target=lambda: list(events))
    worker.start()
    assert screen.shown.acquire(timeout=PATIENCE)
    made.stop()
    worker.join(PATIENCE)
    assert not worker.is_alive()
    assert screen.closed
    names = [t.name for t in threading.enumerate() if t.name.startswith(("mien-live", "mien-out"))]
    assert not names, (before, names)


def test_an_output_joins_later_and_leaves(material: Path, home: Path, tmp_path: Path) -> None:
    screen, target = Screen(), tmp_path / "later.mp4"

    def after(made: Live, number: int) -> None:
        if number == 9:
            made.add(str(target))
        if number == 19:
            assert made.remove(str(target))
            assert not made.remove(str(target))

    run(material, home, Feed(input=str(material / "clip.mp4")), Settings(), screen, after)
    with av.open(str(target)) as file:
        times = [f.time for f in file.decode(video=0)]
    assert times == [k / 20 for k in range(10)]
