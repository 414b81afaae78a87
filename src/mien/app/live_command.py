"""The verb `live` of the command line. Imports nothing heavy, like `cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from mien.app.roles import ROLE, Paths
from mien.settings import Detect, Device, Encode, Enhance, Feed, Mask, Safety, Settings, Swap, Track


def live(
    *,
    source: Paths = (),
    output: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(aliases=["-o"])] = (),
    faces: str = "prominent",
    who: Paths = (),
    role: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar=ROLE)] = (),
    watch: Annotated[Path | None, tyro.conf.arg(metavar="TOML")] = None,
    json: bool = False,
    feed: Feed = Feed(),  # noqa: B008
    detect: Detect = Detect(),  # noqa: B008
    track: Track = Track(),  # noqa: B008
    swap: Swap = Swap(),  # noqa: B008
    mask: Mask = Mask(),  # noqa: B008
    enhance: Enhance = Enhance(),  # noqa: B008
    safety: Safety = Safety(),  # noqa: B008
    encode: Encode = Encode(),  # noqa: B008
    device: Device = Device(),  # noqa: B008
) -> int:
    """Replace faces in what a camera, a file or a stream shows, as it comes in.

    The newest frame wins. Keys change settings while it runs, and so does a file that is watched.

    Args:
        source: Pictures or videos that show the new face; several are used together.
        output: Where it goes, several times if need be: `virtual` (a virtual camera), an address such as
            udp://HOST:PORT, rtmp://... or srt://..., a playlist (live.m3u8) or a file.
        faces: Whose face is replaced: prominent, all, left, right, largest, or track ids ("1,4") in order of
            appearance. Who has been chosen keeps the new face as long as they are followed.
        who: Pictures of the person whose face is replaced, instead of `--faces`.
        role: One of several new faces, as for `mien swap`.
        watch: A file of settings ("[swap]", "strength = 0.5"); whenever it is saved, they count at once.
        json: Print one event a line as JSON, with one `pulse` a second.
        feed: What comes in and what is drawn on it.
        detect: Finding faces.
        track: Following faces.
        swap: Replacing the face.
        mask: Where the new face is shown.
        enhance: Restoring the new face.
        safety: Judging whether it may be worked on.
        encode: Writing the outputs.
        device: The machine.
    """
    from mien.app import live as live_
    from mien.app import roles
    from mien.app.cli import follow

    groups = {"detect": detect, "track": track, "swap": swap, "mask": mask, "enhance": enhance}
    settings = Settings.model_validate({**groups, "safety": safety, "encode": encode, "device": device})
    cast = roles.cast(role, roles.joined(source), faces, roles.joined(who))
    return follow(live_.live(feed, cast, settings, output, watch, json), json, live_.Facts(json))
