"""What `swap.every` costs in quality: faces carried by flow, beside the same faces all made by networks.

    python bench/carry.py CLIP [CLIP ...] [--frames 150] [--looks FOLDER]

No real swapper is at work. Two stand-ins bound what one does: `fixed` lays a pattern that keeps to the
aligned square over half the crop, so that nothing of it moves with the skin; `skin` is a function of the
crop alone (half contrast, sharpened), so that all of it does. The person who fills most of a clip is changed
on every frame, and on every 2nd, 3rd and 4th.

A line: share of the faces that were carried; over these, SSIM (Wang et al. 2004) of the luma inside the
aligned square against the faces that the networks make: mean and the worst twentieth; mean difference in
codes; then the jitter of bench/flicker.py in pixels, input -> result.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
from skimage.metrics import structural_similarity

from flicker import measure
from flicker_networks import SWAPPER, Film, gray, stand_in, store, tracked, window
from mien.images import cpu
from mien.media import clip as clips
from mien.media import decode
from mien.models.card import Card
from mien.models.catalogue import Catalogue
from mien.models.pictures import aligned
from mien.models.runtime import Runtime
from mien.run.render import Part, batches, together
from mien.settings import Device, Enhance, Mask, Swap
from mien.stages import carry
from mien.stages.change import change
from mien.stages.patch import ANYBODY, Look, Patch
from mien.types import Array, Faces, Frame

STEPS = (1, 2, 3, 4)
SIDE = 256
"""Of the squares that are compared."""


def look(card: Card, every: int) -> Look:
    """The stand-in's, on every so-maniest frame."""
    return Look(Swap(every=every), Mask(), Enhance(), network=card, conditions={ANYBODY: {}})


def changed(
    runtime: Runtime, incoming: Iterator[Frame], faces: Sequence[Faces], shown: Look
) -> Iterator[tuple[Frame, bool]]:
    """Frames whose face is changed, and whether it was carried."""
    size = together((Part(shown, (0,)),), Device())
    for some in batches(incoming, size, (len(faces),)):
        patches = [
            Patch(frame, face.dense[0], face.points[0], shown, track=0)
            for frame in some
            if len(face := faces[frame.index]) and face.dense is not None
        ]
        maybe = {patches[k].frame.index for k in carry.between(patches)}
        refused: set[int] = set()
        real = carry.carried

        def noted(patch: Patch, *rest: object, real: object = real, refused: set[int] = refused) -> object:
            found = real(patch, *rest)  # type: ignore[operator]
            if found is None:
                refused.add(patch.frame.index)
            return found

        carry.carried = noted  # type: ignore[assignment]
        try:
            change(runtime, patches)
        finally:
            carry.carried = real
        for frame in some:
            yield frame, frame.index in maybe - refused


def square(frame: Frame, face: Faces) -> Array:
    """(SIDE, SIDE) luma of the face, codes."""
    crop = cpu.crop(frame, aligned(face.points[0], SWAPPER, SIDE), (SIDE, SIDE))
    return np.asarray(cpu.luma(crop) * 255, np.float64)


def compare(path: Path, runtime: Runtime, cards: Sequence[Card], given: argparse.Namespace) -> None:
    """A line for each stand-in and step."""
    clip = clips.probe(path)
    index = clips.index(clip)
    end = min(len(index), given.frames)
    faces = tracked(clip, index, end, runtime, None)
    part = window(faces, clip.size)
    print(f"{path.stem[:3]}: {end} frames of {clip.width}x{clip.height} at {float(clip.rate):.2f}")
    for card in cards:
        full: list[Array] = []
        for every in STEPS:
            with tempfile.TemporaryDirectory() as folder:
                likes, differences, count = [], [], 0
                with ExitStack() as stack:
                    before, after = (
                        stack.enter_context(Film(Path(folder) / name, round(clip.rate)))
                        for name in ("before", "after")
                    )
                    for frame in decode.frames(clip, index, 0, end, writable=False):
                        before.write(gray(frame, part))
                    fresh = (
                        replace(f, planes=tuple(p.copy() for p in f.planes), owner=None)
                        for f in decode.frames(clip, index, 0, end, writable=False)
                    )
                    for frame, was_carried in changed(runtime, fresh, faces, look(card, every)):
                        after.write(gray(frame, part))
                        face = faces[frame.index]
                        ours = square(frame, face) if len(face) else np.zeros((SIDE, SIDE))
                        if every == 1:
                            full.append(ours)
                        elif was_carried:
                            count += 1
                            wanted = full[frame.index]
                            likes.append(
                                structural_similarity(
                                    ours, wanted, data_range=255, gaussian_weights=True, sigma=1.5
                                )
                            )
                            differences.append(np.abs(ours - wanted).mean())
                        if given.looks and frame.index in (50, 51, 52):
                            picture = cpu.thumbnail(frame, frame.size)[..., ::-1]
                            cv2.imwrite(
                                str(given.looks / f"{path.stem[:3]} {card.name} {every} {frame.index}.png"),
                                picture,
                            )
                line = measure(before.path, after.path)
                figures = "all made"
                if likes:
                    worst = np.sort(likes)[: max(len(likes) // 20, 1)].mean()
                    figures = (
                        f"carried {100 * count / sum(len(f) > 0 for f in faces):3.0f} %  "
                        f"SSIM {np.mean(likes):.4f} (worst {worst:.4f})  apart {np.mean(differences):4.2f}"
                    )
                print(
                    f"  {card.name:6s} every {every}  {figures:62s}  {line[line.index('jitter') :]}",
                    flush=True,
                )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--looks", type=Path, help="where to put a few pictures")
    given = parser.parse_args()
    if given.looks:
        given.looks.mkdir(parents=True, exist_ok=True)
    libraries = ("mien", "av", "numpy", "opencv-python-headless", "openvino", "scikit-image")
    print(
        f"{time.strftime('%Y-%m-%d')}  {platform.machine()}, {os.cpu_count()} processors,",
        f"Python {platform.python_version()},",
        ", ".join(f"{name} {version(name)}" for name in libraries),
    )
    print("stand-ins for the swapper: fixed functions of the crop")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        cards = [
            stand_in(place / "fixed.onnx", "swap", SWAPPER, waves=9, share=0.5, sharp=0),
            stand_in(place / "skin.onnx", "swap", SWAPPER, waves=9, share=0.5, sharp=1.0, drawn=0.0),
        ]
        with Runtime(store=store(place / "home"), cards=Catalogue().with_cards(cards)) as runtime:
            for path in given.clips:
                compare(path, runtime, cards, given)


if __name__ == "__main__":
    main()
