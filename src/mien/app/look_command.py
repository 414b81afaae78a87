"""`mien analyse` and `mien review`: looking at a clip, and at what was made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from mien.settings import Detect, Device, Settings, Track


def analyse(
    target: Path,
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="PNG")] = None,
    start: str = "",
    end: str = "",
    json: bool = False,
    detect: Detect = Detect(),  # noqa: B008
    track: Track = Track(),  # noqa: B008
    device: Device = Device(),  # noqa: B008
) -> int:
    """Find and follow the faces of a video, list people and tracks, and save what was found.

    A later swap of the same clip, range and settings uses it without looking again.

    Args:
        target: The video.
        output: The tracks file to write.
        sheet: A picture to write that shows everybody found: each person with time on screen and first
            appearance, and each track with its id.
        start: First moment: seconds ("12.5"), a clock time ("1:02.5") or a frame ("250f").
        end: Moment after the last one, written like start.
        json: Print one event a line as JSON.
        detect: Finding faces.
        track: Following faces.
        device: The machine.
    """
    from mien.app.cli import follow
    from mien.run import verbs

    settings = Settings(detect=detect, track=track, device=device)
    code = follow(verbs.analyse(target, output, settings, sheet_path=sheet, start=start, end=end), json)
    if code == 0 and not json:
        from mien.app.show import listed
        from mien.faces import tracksfile

        print(listed(tracksfile.load(output.expanduser())))
    return code


def review(
    result: Annotated[Path, tyro.conf.Positional],
    target: Path,
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="JSON")] = None,
    start: str = "",
    end: str = "",
    json: bool = False,
    detect: Detect = Detect(),  # noqa: B008
    track: Track = Track(),  # noqa: B008
    device: Device = Device(),  # noqa: B008
) -> int:
    """Look a finished video through beside its target and list where the new faces look bad.

    Listed are things before a face that were painted over, edges that it has nowhere else, jumps, and
    features that are not where they belong. What made the result does not matter.

    Args:
        result: What was made.
        target: The video it was made from.
        output: A file to write with what was found.
        start: First moment of the target that the result shows: seconds ("12.5"), a clock time ("1:02.5") or
            a frame ("250f").
        end: Moment after the last one, written like start.
        json: Print one event a line as JSON.
        detect: Finding faces; as in the swap, or the target is analysed anew.
        track: Following faces.
        device: The machine.
    """
    from mien.app.cli import follow
    from mien.run import verbs

    settings = Settings(detect=detect, track=track, device=device)
    return follow(verbs.review(target, result, output, settings, start=start, end=end), json)
