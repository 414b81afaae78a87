"""The verbs: what can be asked for, as functions that yield events. The last event is `Finished`.

for event in swap(Job(target=..., output=..., cast=(Role(sources=(...,)),))):
    print(event)
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from mien.errors import MediaError, SettingsError
from mien.faces import people
from mien.media import sequence
from mien.run import animated, casting, sheet, still, video
from mien.run import review as looked
from mien.run.order import order
from mien.run.place import absolute, check_output
from mien.settings import Encode, Job, Role, Settings
from mien.types import Event, Warned

__all__ = ["analyse", "check", "review", "swap"]


def swap(job: Job, *, folder: Path | None = None, home: Path | None = None) -> Generator[Event, None, None]:
    """Replace faces in a video, a picture, an animation or a folder of pictures.

    A run that was stopped continues where it was when the same job is given again.

    Args:
        job: What to do.
        folder: Where the job's state is kept; None for one in the cache, named by the job's id.
        home: The cache: models, jobs and analyses; None for the user's own.

    Raises:
        MienError: See `mien.errors`; nothing but whole files appears under the output's name.
    """
    job = absolute(job)
    check(job)
    wanted = order(job, home)
    kind = sequence.kind(job.target)
    if kind not in ("image", "sequence"):
        shown = [path for role in job.cast for path in (*role.sources, *role.like)]
        check_output(job.output, (job.target, *shown, *(path for cue in job.cues for path in cue.sources)))
    if kind == "other":
        yield from _once(video.swap(wanted, folder.expanduser().absolute() if folder else None))
        return
    if job.start or job.end or job.cues:
        asked = "cues" if job.cues else "start, end"
        raise SettingsError(asked, "work on videos only", "Leave them out for pictures and animations.")
    with closing(animated.swap(wanted) if kind == "animation" else still.swap(wanted)) as work:
        yield next(work)
        yield from _idle(job, folder)
        yield from work


def _once(events: Generator[Event, None, None]) -> Generator[Event, None, None]:
    """The same events; what both passes find out about a clip is said once."""
    said: set[Warned] = set()
    with closing(events):
        for event in events:
            if isinstance(event, Warned):
                if event in said:
                    continue
                said.add(event)
            yield event


def check(job: Job) -> None:
    """See what can be seen to be wrong before a file is opened.

    Raises:
        SettingsError: A role has no source, or nobody is named rightly.
    """
    shown = [bool(role.sources) or _knows(role, job.settings) for role in job.cast]
    if not all(shown) or not shown:
        advice = "Give at least one picture or video of the new face, with --source or --role."
        raise SettingsError("source", "is empty", advice)
    for role in job.cast:
        if not role.like:
            people.listed(role.faces)


def _knows(role: Role, settings: Settings) -> bool:
    """Whether a role's swapper knows one face only and needs no source."""
    return (role.swap or settings.swap).model.lower().endswith(".dfm")


def _idle(job: Job, folder: Path | None) -> Iterator[Warned]:
    """What was asked for and has no effect on pictures and animations."""
    encode, usual = job.settings.encode, Encode()
    for name in ("codec", "preset", "bitrate", "fps", "size"):
        if getattr(encode, name) != getattr(usual, name):
            yield Warned(f"encode.{name}", "has no effect: the target is no video")
    if folder is not None:
        yield Warned(str(folder), "is not used: only videos keep a job's state")


def analyse(
    target: Path,
    output: Path | None = None,
    settings: Settings | None = None,
    *,
    sheet_path: Path | None = None,
    start: str = "",
    end: str = "",
    home: Path | None = None,
) -> Generator[Event, None, None]:
    """Find and follow everybody in a video and save the tracks. Later swaps of the clip use what was found.

    Args:
        target: The video.
        output: The tracks file to write; None where the cache's own is enough.
        settings: How faces are found and followed.
        sheet_path: A picture to write that shows everybody: persons, and tracks with their ids.
        start: First moment, as in `Job`.
        end: Moment after the last one, as in `Job`.
        home: The cache: models, jobs and analyses; None for the user's own.

    Raises:
        MediaError: The video cannot be read or an output cannot be written.
    """
    target = target.expanduser().absolute()
    output = output.expanduser().absolute() if output is not None else None
    for path in (output, sheet_path):
        if path is not None:
            check_output(path.expanduser().absolute(), (target,))
    if sheet_path is not None and sheet_path.suffix.lower() not in sheet.SUFFIXES:
        raise MediaError(sheet_path, "is no picture that can be written", "Name it .png or .jpg.")
    if sequence.kind(target) != "other":
        raise MediaError(target, "is no video", "Pictures need no analysis: `mien swap` finds their faces.")
    work = video.analyse(target, output, settings or Settings(), start, end, home)
    film, tracks, finished = yield from work
    if sheet_path is not None and not sheet.everybody(film.clip, film.index, tracks, sheet_path):
        yield Warned(str(sheet_path), "is not written: there is nobody to show")
    yield replace(finished, persons=casting.persons(tracks, film.index, film.clip))


def review(
    target: Path,
    result: Path,
    output: Path | None = None,
    settings: Settings | None = None,
    *,
    start: str = "",
    end: str = "",
    whole: bool = False,
    home: Path | None = None,
) -> Generator[Event, None, None]:
    """Look a result through beside its clip, frame by frame, and say where the new faces look bad.

    A face is judged by its own track: something before it that is painted over, edges that it has nowhere
    else, jumps from one frame to the next, and landmarks that are not where they belong. Each stretch is a
    `Warned`. What made the result does not matter.

    Args:
        target: The video.
        result: What was made from it, at the same rate.
        output: A JSON file to write with the stretches; None for none.
        settings: How faces are found and followed; those of the swap, or the clip is analysed anew.
        start: First moment of the clip that the result shows, as in `Job`.
        end: Moment after the last one, as in `Job`.
        whole: Whether the whole clip is analysed where the result shows a part, as in `Job`.
        home: The cache: models, jobs and analyses; None for the user's own.

    Raises:
        MediaError: A video cannot be read, or the file cannot be written.
        JobError: The result does not show the same frames.
    """
    target, result = target.expanduser().absolute(), result.expanduser().absolute()
    output = output.expanduser().absolute() if output is not None else None
    if output is not None:
        check_output(output, (target, result))
    for path in (target, result):
        if sequence.kind(path) != "other":
            raise MediaError(path, "is no video", "Only videos are looked through.")
    yield from looked.review(target, result, output, settings or Settings(), start, end, whole, home)
