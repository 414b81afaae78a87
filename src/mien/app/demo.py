"""The demo: a clip made from one public-domain portrait, with the face of the other put on it.

python -m mien.app.demo [--target astronaut|hopper] [--output out/demo]
"""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from mien.app.cli import follow
from mien.app.models import fetch
from mien.bench import demo
from mien.models.runtime import Runtime
from mien.run import sheet, verbs
from mien.settings import Job, Role


def run(target: demo.Name = "hopper", output: Path = Path("out/demo"), gallery: Path | None = None) -> int:
    """Build the demo clip, swap its face, and write a before/after sheet.

    Args:
        target: The portrait that the clip is made from; the other one is the source.
        output: Folder for everything that is written.
        gallery: Folder for the sheet as a small JPEG, for the documentation.
    """
    output.mkdir(parents=True, exist_ok=True)
    source = next(name for name in demo.NAMES if name != target)
    picture = demo.save_portrait(source, output)
    clip, result = output / f"{target}.mp4", output / f"{target}_as_{source}.mp4"
    if not clip.exists():
        print(f"filming {target}: {demo.Shot().seconds:g} s of video ...", flush=True)
        with Runtime(store=fetch()) as runtime:
            doll = demo.puppet(target, runtime)
        demo.write_clip(clip, demo.Shot(), doll)
    job = Job(target=clip, output=result, cast=(Role(sources=(picture,)),))
    code = follow(verbs.swap(job), json=False)
    if code == 0:
        before_after = output / f"{target}_as_{source}.png"
        sheet.before_after(clip, result, before_after)
        if gallery is not None:
            sheet.before_after(clip, result, gallery / f"{result.stem}.jpg", moments=3)
        print(f"before: {clip}\nafter:  {result}\nsheet:  {before_after}")
    return code


if __name__ == "__main__":
    sys.exit(tyro.cli(run, prog="python -m mien.app.demo"))
