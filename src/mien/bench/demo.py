"""The demo's material: two public-domain portraits, and a camera shot made from one of them.

The portraits come with scikit-image (Eileen Collins, NASA) and matplotlib (Grace Hopper, US Navy). The shot
moves, turns and zooms like a hand-held camera; its light changes, and the face talks and blinks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeAlias

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from mien.bench.puppet import Pose, Puppet
from mien.errors import NoFaceError
from mien.media.layouts import LAYOUTS
from mien.models.detect import find
from mien.models.runtime import Runtime
from mien.settings import Detect
from mien.types import Array, Colour, Float32, Float64, Frame

Name: TypeAlias = Literal["astronaut", "hopper"]
NAMES: tuple[Name, ...] = ("astronaut", "hopper")
SOUND_RATE = 48000


@dataclass(frozen=True)
class Shot:
    """What is filmed."""

    size: tuple[int, int] = (1280, 720)
    rate: Fraction = Fraction(25)
    seconds: float = 6.0
    face: float = 0.2
    """Distance between the eyes as a share of the picture's height."""
    noise: float = 0.008
    """Standard deviation of the sensor noise, 0 to 1."""

    @property
    def frames(self) -> int:
        """Number of frames."""
        return round(self.seconds * self.rate)


def portrait(name: Name) -> Array:
    """(H, W, 3) uint8 picture of a portrait."""
    if name == "astronaut":
        from skimage.data import astronaut

        return np.asarray(astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    import matplotlib
    from PIL import Image

    with Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg") as picture:
        return np.asarray(picture.convert("RGB"), np.uint8)


def save_portrait(name: Name, folder: Path) -> Path:
    """Write a portrait as PNG and return its path."""
    from PIL import Image

    path = folder / f"{name}.png"
    Image.fromarray(portrait(name)).save(path)
    return path


def puppet(name: Name, runtime: Runtime) -> Puppet:
    """The portrait ready to move.

    Raises:
        NoFaceError: The detector does not find its face.
    """
    rgb = portrait(name)
    frame = Frame(
        planes=(np.ascontiguousarray(rgb),),
        layout=LAYOUTS["rgb24"],
        colour=Colour(matrix="rgb", full_range=True),
        pts=0,
        index=0,
        display=np.eye(2, 3),
    )
    faces = find(runtime, frame, Detect())
    if len(faces) == 0 or faces.dense is None:
        raise NoFaceError(name, "no face was found in the portrait")
    return Puppet(rgb, faces.dense[int(np.argmax(faces.score))])


def speech(times: Float64) -> Float64:
    """How far the mouth is open at each moment, 0 to 1: two phrases of about four syllables a second."""
    strengths = np.array([0.6, 0.95, 0.45, 0.8, 0.3, 1.0, 0.7, 0.5])
    opening = np.zeros_like(times)
    for first, count in ((0.35, 8), (3.15, 9)):
        for k in range(count):
            centre = first + 0.27 * k + 0.03 * np.sin(2.1 * k)
            opening += strengths[(k * 3 + int(first)) % 8] * np.exp(-(((times - centre) / 0.075) ** 2))
    return np.asarray(np.clip(opening, 0.0, 1.0), np.float64)


def blinks(times: Float64) -> Float64:
    """How far the lids are closed at each moment, 0 to 1: three blinks of about 0.2 s."""
    closed = [np.clip(1.25 - np.abs(times - moment) / 0.1, 0.0, 1.0) for moment in (1.1, 2.9, 4.7)]
    return np.asarray(np.max(closed, axis=0), np.float64)


def pose(moment: float) -> Pose:
    """What the face does at a moment in seconds."""
    at = np.array([moment])
    return Pose(
        mouth=float(0.75 * speech(at)[0]),
        round=float(0.5 + 0.5 * np.sin(5.3 * moment)) * float(speech(at)[0]) * 0.7,
        blink=float(blinks(at)[0]),
        brows=float(max(np.sin(1.7 * moment), 0.0)) * 0.6,
        yaw=float(0.3 * np.sin(1.3 * moment)),
    )


def camera(shot: Shot, doll: Puppet, moment: float) -> Float64:
    """(2, 3) affine from output pixels to photo pixels at a moment in seconds."""
    width, height = shot.size
    scale = doll.unit / (shot.face * height) / (1.0 + 0.14 * np.sin(1.05 * moment - 0.5))
    angle = np.radians(9.0) * np.sin(0.95 * moment + 0.4) + np.radians(0.5) * np.sin(6.1 * moment)
    sway = np.array(
        [
            0.05 * width * np.sin(0.8 * moment) + 0.003 * width * np.sin(7.3 * moment),
            0.03 * height * np.sin(1.4 * moment + 1.0) + 0.004 * height * np.sin(9.1 * moment),
        ]
    )
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = np.array([0.5 * width, 0.47 * height]) + sway
    return np.asarray(np.column_stack([turn, doll.centre - turn @ middle]), np.float64)


def light(shot: Shot, moment: float) -> Float32:
    """(H, W, 3) factors: a lamp that wanders from side to side, warm on one side and cool on the other."""
    width, height = shot.size
    x = np.linspace(-1.0, 1.0, width)[None, :, None]
    y = np.linspace(-1.0, 1.0, height)[:, None, None]
    side = np.sin(1.15 * moment)
    level = 0.92 + 0.22 * side * x - 0.06 * y + 0.05 * np.sin(2.3 * moment)
    warm = 1.0 + 0.05 * side * x * np.array([1.0, 0.1, -1.0])
    return np.asarray(level * warm, np.float32)


def pictures(shot: Shot, doll: Puppet) -> Iterator[Array]:
    """(H, W, 3) uint8 R'G'B' of every frame."""
    random = np.random.default_rng(1)
    for number in range(shot.frames):
        moment = float(number / shot.rate)
        rgb = doll.show(pose(moment), camera(shot, doll, moment), shot.size) * light(shot, moment)
        rgb += random.standard_normal((*rgb.shape[:2], 1), np.float32) * np.float32(shot.noise)
        yield np.clip(rgb * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)


def sound(shot: Shot) -> Float32:
    """(1, N) samples, -1 to 1, at 48 kHz: a voice-like tone that follows the mouth."""
    times = np.arange(round(shot.seconds * SOUND_RATE)) / SOUND_RATE
    mouth = speech(times)
    pitch = 165.0 + 22.0 * np.sin(2.0 * times) + 14.0 * mouth
    phase = 2.0 * np.pi * np.cumsum(pitch) / SOUND_RATE
    voice = np.zeros_like(times)
    for k in range(1, 16):  # harmonics, louder near two formants; the first rises as the mouth opens
        tone = k * pitch
        first = np.exp(-(((tone - 420.0 - 350.0 * mouth) / 180.0) ** 2))
        second = 0.5 * np.exp(-(((tone - 1500.0) / 350.0) ** 2))
        voice += (first + second + 0.04) * np.sin(k * phase)
    return (0.22 * mouth * voice).astype(np.float32)[None]


def write_clip(path: Path, shot: Shot, doll: Puppet) -> None:
    """Write the shot as H.264 and AAC in MP4. The file appears when it is complete."""
    part = path.with_name(f".{path.name}")
    with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=shot.rate, options={"crf": "16", "preset": "veryfast"})
        video.width, video.height = shot.size
        video.pix_fmt = "yuv420p"
        context = video.codec_context
        context.color_range, context.colorspace = 1, 1  # limited, BT.709
        context.color_primaries, context.color_trc = 1, 1
        voice = container.add_stream("aac", rate=SOUND_RATE, layout="mono", bit_rate=128000)
        samples = sound(shot)
        sent = 0
        for number, rgb in enumerate(pictures(shot, doll)):
            picture = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            picture.pts, picture.time_base = number, 1 / shot.rate
            container.mux(video.encode(picture))
            upto = min(round((number + 1) / shot.rate * SOUND_RATE), samples.shape[1])
            block = av.AudioFrame.from_ndarray(samples[:, sent:upto].copy(), "fltp", "mono")
            block.pts, block.sample_rate, block.time_base = sent, SOUND_RATE, Fraction(1, SOUND_RATE)
            container.mux(voice.encode(block))
            sent = upto
        container.mux(video.encode(None))
        container.mux(voice.encode(None))
    part.replace(path)
