"""Flicker of the chain of networks: points found anew in each frame, as others do, beside tracked ones.

    python bench/flicker_networks.py --models FOLDER CLIP [CLIP ...] [--frames 150] [--looks FOLDER]

No real swapper is at work: a stand-in's output is half its crop plus a fixed pattern in crop coordinates, so
that all unsteadiness of the alignment becomes movement of the pattern. A stand-in enhancer sharpens and adds
a finer pattern. The person who fills most of a clip is changed by the same chain in these ways:

* bare NAME: the points of a small detector, found in every frame anew; crops by plain bilinear
  `cv2.warpAffine`, which aliases where it shrinks;
* anew NAME: the same points, our prefiltered crops;
* raw: our pass one without smoothing;
* mien: our pass one as it is.

Each line is that of bench/flicker.py (`error`, `jitter` and `tone`, of the input and of the result), in
pixels of the picture at most 960 wide or high. `points` is the RMS second difference over time of the five
points, per cent of the distance of the eyes; what the head really does is in it, and the same for all. `slip`
is how far the square laid through the points moves against the skin below it, by the flow of the input: RMS,
in the same pixels. `lost` are frames in which the detector did not find the face. Repeats are pictures shown
twice, as in clips that were brought to another rate: there a function of the picture alone stands still.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TypeAlias
from unittest import mock

import av
import cv2
import numpy as np
import onnx
from onnx import helper, numpy_helper

from flicker import measure
from mien import pipeline
from mien.faces import blend, people
from mien.images import cpu, geometry
from mien.media import clip as clips
from mien.media import decode
from mien.media.clip import Clip, FrameIndex
from mien.models import detect, detectors
from mien.models.card import Card, File, Pixels, Tensor
from mien.models.catalogue import Catalogue
from mien.models.mediapipe import BLAZEFACE_FULL, FACEMESH
from mien.models.pictures import aligned, looked_at
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.settings import Enhance, Mask, Settings, Swap, Track
from mien.stages.change import change
from mien.stages.patch import ANYBODY, Look, Patch
from mien.types import Array, Faces, Float32, Float64, Frame, Tracks

SIDE = 640
"""Of the picture that detectors see."""
Points: TypeAlias = Callable[[int], Float64 | None]
"""Index of a frame to (5, 2) display pixels."""
LARGEST = 960
"""Longest side of the pictures that are compared, that of bench/flicker.py."""
SWAPPER, ENHANCER = "arcface_128", "ffhq_512"
"""Templates of the stand-ins."""


def pattern(side: int, waves: float) -> Float32:
    """(3, side, side) rings around the middle and a slanted grating, with soft edges, up to 0.2."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    rings = np.sin(2 * np.pi * waves * np.hypot(x, y))
    grating = np.sin(2 * np.pi * waves * (0.8 * x + 0.6 * y))
    drawn = np.tanh(2.0 * np.where(x * y > 0, rings, grating)) * np.clip(
        20 * np.minimum(abs(x), abs(y)), 0, 1
    )
    return np.asarray(0.2 * drawn * np.array([1.0, 0.8, 0.6])[:, None, None], np.float32)


def oval(side: int, template: str) -> Float32:
    """(side, side) 1 on the face of an aligned square, 0 around it, with a soft edge."""
    onto = geometry.similarity(geometry.template(template, side), geometry.template(SWAPPER))
    y, x = np.mgrid[:side, :side] + 0.5
    at = geometry.apply(onto, np.stack([x, y], axis=2)) - (0.5, 0.56)
    return np.asarray(
        blend.smoothstep((1.0 - np.hypot(at[..., 0] / 0.27, at[..., 1] / 0.36)) * 5.0), np.float32
    )


def stand_in(
    path: Path, task: str, template: str, *, waves: float, share: float, sharp: float, drawn: float = 1.0
) -> Card:
    """A network that gives its crop, but on the face a fixed pattern over a part of it.

    There it is share * crop + (1 - share) / 2 + sharp * (crop - its blur) + drawn * pattern.
    """
    side = int(template.rpartition("_")[2])
    inside = oval(side, template)
    kernel = np.full((3, 1, 5, 5), -sharp / 25, np.float32)
    kernel[:, :, 2, 2] += sharp + share - 1.0
    added = (np.float32(drawn) * pattern(side, waves) + np.float32((1 - share) / 2)) * inside
    constants = {"kernel": kernel, "inside": inside, "added": added[None]}
    nodes = [
        helper.make_node("Conv", ["target", "kernel"], ["filtered"], group=3, pads=[2, 2, 2, 2]),
        helper.make_node("Mul", ["filtered", "inside"], ["less"]),
        helper.make_node("Add", ["target", "less"], ["changed"]),
        helper.make_node("Add", ["changed", "added"], ["output"]),
    ]
    shape: list[int | str | None] = ["N", 3, side, side]
    ends = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in ("target", "output")]
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "stand_in", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return Card(
        name=path.stem,
        task=task,  # type: ignore[arg-type]
        family={"swap": "swapper", "enhance": "restorer"}[task],
        files=(File(str(path)),),
        licence="MIT",
        inputs=(Tensor("target", (3, side, side)),),
        outputs=(Tensor("output", (3, side, side)),),
        pixels=Pixels(side),
        result=Pixels(side),
        template=template,
        tolerance=0.0,
        engine="openvino",
        notes="stand-in: a fixed function of its crop",
    )


def eyes(folder: Path) -> dict[str, Card]:
    """The small detectors by name."""
    yunet = replace(
        detectors.YUNET,
        name="small_yunet",
        files=(File(str((folder / "yunet_n_dynamic.onnx").resolve())),),
        inputs=(Tensor("input", (3, -1, -1)),),
        outputs=tuple(replace(t, shape=(-1, t.shape[1])) for t in detectors.YUNET.outputs),
        tolerance=0.0,
        engine="openvino",
    )
    scrfd = replace(
        detectors.SCRFD_2_5G,
        name="small_scrfd",
        files=(File(str((folder / "scrfd_2.5g_kps.onnx").resolve())),),
        inputs=(Tensor("images", (3, SIDE, SIDE)),),
        outputs=tuple(Tensor("", (2 * n, k)) for k in (1, 4, 10) for n in detectors.CELLS),
        tolerance=0.0,
        engine="openvino",
    )
    return {"YuNet": yunet, "SCRFD": scrfd}


def store(home: Path) -> Store:
    """A store of its own with the networks of pass one, so that nothing is left in the user's."""
    users, own = Store(), Store(home)
    for card in (BLAZEFACE_FULL, FACEMESH):
        for name, path in users.locate(card).items():
            own.adopt(next(file for file in card.files if file.name == name), path)
    return own


def found(runtime: Runtime, card: Card, rgb: Array, box: Float64) -> Float64 | None:
    """(5, 2) a detector's points of the face in a box: of all that overlap it the surest, as others take it.

    The picture is shrunk to fit a square, black at the right and at the bottom.
    """
    height, width = rgb.shape[:2]
    scale = min(SIDE / max(width, height), 1.0)
    small = cv2.resize(rgb, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_LINEAR)
    square = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    square[0, : small.shape[0], : small.shape[1]] = small
    result = detectors.in_order(card, runtime.session(card).run(detect.prepare(square, looked_at(card))))
    kind = detectors.FAMILIES[card.family]
    seen = kind.decode(card, result, SIDE, 0.5)[0].moved(1 / scale, 0.0, 0.0)
    near = geometry.iou(seen.box, box[None])[:, 0] > 0.3 if len(seen) else np.zeros(0, bool)
    return seen.points[near][int(np.argmax(seen.score[near]))] if near.any() else None


def bilinear(rgb: Array) -> Callable[[Frame, Float64, tuple[int, int]], Float32]:
    """What cuts crops out of a whole uint8 picture (h, w, 3) by four neighbours, whatever the scale."""
    half = geometry.scaling(1.0, 1.0, (0.5, 0.5))

    def crop(_: Frame, matrix: Float64, size: tuple[int, int]) -> Float32:
        centred = geometry.compose(geometry.invert(half), geometry.compose(matrix, half))
        cut = cv2.warpAffine(rgb, centred, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(cut, np.float32) / np.float32(255)

    return crop


def gray(frame: Frame, window: tuple[slice, slice]) -> Array:
    """uint8 (h, w) luma of a part of the picture, at most `LARGEST` pixels wide or high before it is cut."""
    luma = frame.planes[0].astype(np.float32) * 0.5 ** (frame.layout.depth - 8)
    if not frame.colour.full_range:
        luma = (luma - 16.0) * (255 / 219)
    scale = min(1.0, LARGEST / max(luma.shape))
    size = (round(luma.shape[1] * scale), round(luma.shape[0] * scale))
    small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)[window]
    return np.clip(np.rint(small), 0, 255).astype(np.uint8)


class Film:
    """A lossless clip of gray pictures."""

    def __init__(self, path: Path, rate: int) -> None:
        self.path, self._rate, self._begun = path, rate, False

    def __enter__(self) -> Film:
        self._container = av.open(self.path, "w", format="matroska")
        self._stream = self._container.add_stream("ffv1", rate=self._rate)
        self._stream.pix_fmt = "gray"
        return self

    def write(self, picture: Array) -> None:
        """Append one picture, of the size of the first."""
        if not self._begun:
            self._stream.height, self._stream.width = picture.shape
            self._begun = True
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(picture, format="gray")))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


@dataclass(frozen=True)
class Way:
    """One way of changing a face."""

    name: str
    look: Look
    points: Points
    bare: bool = False


def tracked(clip: Clip, index: FrameIndex, end: int, runtime: Runtime, smooth: float | None) -> list[Faces]:
    """Pass one; gives the face of the person who fills most of the clip, frame by frame."""
    asked = Track(embedder="none") if smooth is None else Track(embedder="none", smooth=smooth)
    with tempfile.TemporaryDirectory() as folder:
        work = pipeline.analyse(
            decode.frames(clip, index, 0, end, writable=False),
            runtime,
            Settings(track=asked),
            total=end,
            rate=clip.rate,
            spill=Path(folder),
        )
        tracks = _result(work)
        ids = people.select(tracks, "prominent")
        return [tracks.at(k, ids) for k in range(end)]


def _result(work: Iterator[object]) -> Tracks:
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


def bend(points: Sequence[Float64 | None]) -> float:
    """RMS second difference in time of points over the distance of the eyes."""
    there = np.array([np.full((5, 2), np.nan) if p is None else p for p in points])
    wide = np.nanmean(np.linalg.norm(there[:, 1] - there[:, 0], axis=1))
    return float(np.sqrt(np.nanmean(np.square(np.diff(there, 2, axis=0)).sum(axis=2))) / wide)


def slip(points: Sequence[Float64 | None], flows: Sequence[Array], onto: Float64) -> float:
    """RMS of the square's movement against what is below it.

    Args:
        points: (5, 2) display pixels, frame by frame.
        flows: (h, w, 2) from each picture but the first to the one before.
        onto: Display pixels to pixels of the flows.
    """
    grid = geometry.apply(geometry.scaling(0.4, 0.5, (0.3, 0.33)), np.mgrid[:1:20j, :1:20j].reshape(2, -1).T)
    moves = []
    for first, second, flow in zip(points, points[1:], flows, strict=False):
        if first is not None and second is not None:
            was, now = (
                geometry.apply(geometry.compose(onto, geometry.invert(aligned(p, SWAPPER, 1))), grid)
                for p in (first, second)
            )
            x, y = np.clip(np.floor(now).astype(int), 0, (flow.shape[1] - 1, flow.shape[0] - 1)).T
            moves.append(np.median(was - now - flow[y, x], axis=0))
    return float(np.sqrt(np.square(moves).sum(axis=1).mean()))


def window(seen: Sequence[Faces], size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the reduced picture that hold the square in all frames."""
    unit = geometry.corners((0.0, 0.0, 1.0, 1.0))
    squares = [geometry.invert(aligned(face.points[0], SWAPPER, 1)) for face in seen if len(face)]
    box = geometry.expand(geometry.box_of(np.concatenate([geometry.apply(m, unit) for m in squares])), 1.25)
    scale = min(1.0, LARGEST / max(size))
    left, top = np.maximum(np.floor(box[:2] * scale), 0).astype(int)
    right, bottom = np.ceil(box[2:] * scale).astype(int)
    return slice(top, bottom), slice(left, right)


def ways(cards: Mapping[str, Card], raw: Points, smoothed: Points, anew: Mapping[str, Points]) -> list[Way]:
    """All ways of changing a clip: swapped, and swapped and restored."""
    swapped = Look(Swap(), Mask(), Enhance(), network=cards["swapper"], conditions={ANYBODY: {}})
    restored = replace(swapped, enhance=Enhance(model=cards["enhancer"].name))
    found = [
        Way(f"{bare} {eye}", swapped, anew[eye], bare == "bare") for eye in anew for bare in ("bare", "anew")
    ]
    found += [Way("raw", swapped, raw), Way("mien", swapped, smoothed)]
    found += [Way(f"bare {eye}, enh.", restored, anew[eye], True) for eye in anew]
    return [*found, Way("mien, enh.", restored, smoothed)]


def compare(path: Path, runtime: Runtime, cards: Mapping[str, Card], given: argparse.Namespace) -> None:
    """Change a clip in all ways and print a line for each."""
    clip = clips.probe(path)
    index = clips.index(clip)
    end = min(len(index), given.frames)
    faces, rough = (tracked(clip, index, end, runtime, smooth) for smooth in (None, 0.0))
    anew: dict[str, list[Float64 | None]] = {"YuNet": [], "SCRFD": []}
    todo = ways(cards, five(rough), five(faces), {eye: seen.__getitem__ for eye, seen in anew.items()})
    part = window(faces, clip.size)
    with tempfile.TemporaryDirectory() as folder:
        with ExitStack() as stack:
            films = [
                stack.enter_context(Film(Path(folder) / name, round(clip.rate)))
                for name in ("before", *(way.name for way in todo))
            ]
            grays = []
            for frame in decode.frames(clip, index, 0, end, writable=False):
                face, rgb = faces[frame.index], cpu.thumbnail(frame, frame.size)
                for eye, seen in anew.items():
                    seen.append(found(runtime, cards[eye], rgb, face.box[0]) if len(face) else None)
                done = changed(runtime, frame, face, rgb, todo)
                grays.append(gray(frame, part))
                for film, picture in zip(films, (grays[-1], *(gray(one, part) for one in done)), strict=True):
                    film.write(picture)
                if given.looks and frame.index in (end // 3, end // 3 + 1):
                    for way, one in zip(todo, done, strict=True):
                        picture = cpu.thumbnail(one, one.size)[..., ::-1]
                        cv2.imwrite(
                            str(given.looks / f"{path.stem[:3]} {frame.index} {way.name}.png"), picture
                        )
        tell(path, clip, grays, part)
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        flows = [dis.calc(new, old, None) for old, new in pairwise(grays)]
        scale = min(1.0, LARGEST / max(clip.size))
        onto = geometry.scaling(scale, scale, (-part[1].start, -part[0].start))
        for way, film in zip(todo, films[1:], strict=True):
            points = [way.points(k) if len(faces[k]) else None for k in range(end)]
            line = measure(films[0].path, film.path)
            figures = f"points {100 * bend(points):5.2f} %  slip {slip(points, flows, onto):5.3f} px"
            print(f"{line}  {figures}  lost {sum(p is None for p in points)}", flush=True)


def five(seen: Sequence[Faces]) -> Points:
    """The points of the first face, by index of the frame."""
    return lambda k: seen[k].points[0] if len(seen[k]) else None


def changed(runtime: Runtime, frame: Frame, face: Faces, rgb: Array, todo: Sequence[Way]) -> list[Frame]:
    """Copies of a frame, the face changed in one way each."""
    copies = [replace(frame, planes=tuple(p.copy() for p in frame.planes), owner=None) for _ in todo]
    for bare in (True, False):
        patches = []
        for way, copy in zip(todo, copies, strict=True):
            points = way.points(frame.index) if way.bare == bare and len(face) else None
            if points is not None and face.dense is not None:
                patches.append(Patch(copy, face.dense[0], points, way.look))
        with mock.patch.object(cpu, "crop", bilinear(rgb) if bare else cpu.crop):
            change(runtime, patches)
    return copies


def tell(path: Path, clip: Clip, grays: Sequence[Array], part: tuple[slice, slice]) -> None:
    """Print what a clip is."""
    steps = np.array([cv2.absdiff(a, b).mean() for a, b in pairwise(grays)])
    repeats = np.count_nonzero((steps < 0.5) & (steps < 0.3 * np.median(steps)))
    window = f"{part[1].stop - part[1].start}x{part[0].stop - part[0].start}"
    print(
        f"{path.stem[:3]}: {len(grays)} frames of {clip.width}x{clip.height} at {float(clip.rate):.2f},",
        f"{window} around the face compared, {repeats} repeats",
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--models", type=Path, required=True, help="has yunet_n_dynamic and scrfd_2.5g_kps")
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--looks", type=Path, help="where to put a few pictures")
    given = parser.parse_args()
    if given.looks:
        given.looks.mkdir(parents=True, exist_ok=True)
    libraries = ("mien", "av", "numpy", "opencv-python-headless", "openvino")
    print(
        f"{time.strftime('%Y-%m-%d')}  {platform.machine()}, {os.cpu_count()} processors,",
        f"Python {platform.python_version()},",
        ", ".join(f"{name} {version(name)}" for name in libraries),
    )
    print("stand-ins for swapper and enhancer: a fixed function of the crop")
    with tempfile.TemporaryDirectory() as folder:
        cards = eyes(given.models)
        place = Path(folder)
        cards["swapper"] = stand_in(
            place / "stand_in_swapper.onnx", "swap", SWAPPER, waves=9, share=0.5, sharp=0
        )
        cards["enhancer"] = stand_in(
            place / "stand_in_enhancer.onnx", "enhance", ENHANCER, waves=24, share=0.8, sharp=1.0
        )
        with Runtime(store=store(place / "home"), cards=Catalogue().with_cards(cards.values())) as runtime:
            for path in given.clips:
                compare(path, runtime, cards, given)


if __name__ == "__main__":
    main()
