"""The command line. Heavy modules are imported by the commands, not here: `mien --help` must be quick.

Exit codes: 0 done; 1 another failure; 2 a wrong option or setting; 3 a clip or picture cannot be read or
written; 4 no face; 5 a model or its engine; 6 the job's folder; 7 the result failed its verification;
8 content that is not worked on; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from mien import errors
from mien.app.live_command import live
from mien.app.look_command import analyse, review
from mien.app.roles import ROLE, Paths, joined
from mien.models.card import Task
from mien.settings import Detect, Device, Encode, Enhance, Job, Mask, Safety, Settings, Swap, Track

if TYPE_CHECKING:
    from mien.app.show import Screen
    from mien.types import Started

EXIT_CODES: tuple[tuple[type[errors.MienError], int], ...] = (
    (errors.VerificationError, 7),
    (errors.MediaError, 3),
    (errors.NoFaceError, 4),
    (errors.ModelError, 5),
    (errors.RuntimeUnavailable, 5),
    (errors.JobError, 6),
    (errors.SettingsError, 2),
    (errors.ContentError, 8),
    (errors.Cancelled, 130),
)

Output = Annotated[Path, tyro.conf.arg(aliases=["-o"])]


def swap(
    *,
    source: Paths = (),
    target: Path,
    output: Output,
    faces: str = "prominent",
    who: Paths = (),
    role: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar=ROLE)] = (),
    start: str = "",
    end: str = "",
    job: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    json: bool = False,
    detect: Detect = Detect(),  # noqa: B008 (frozen)
    track: Track = Track(),  # noqa: B008
    swap: Swap = Swap(),  # noqa: B008
    mask: Mask = Mask(),  # noqa: B008
    enhance: Enhance = Enhance(),  # noqa: B008
    safety: Safety = Safety(),  # noqa: B008
    encode: Encode = Encode(),  # noqa: B008
    device: Device = Device(),  # noqa: B008
) -> int:
    """Replace a face in a video, picture, animation or folder of pictures.

    Stopped runs continue where they were: repeat the same command.

    Args:
        source: Pictures or videos that show the new face; several are used together.
        target: The clip to change: a video, a picture, an animation, a folder or a pattern ("in/*.png").
        output: The file to write; a folder where the target is a folder or a pattern.
        faces: Whose face is replaced: prominent, all, left, right, largest, persons ("person1") or track ids
            ("1,4") as `mien analyse` lists them for the same range. `prominent` and `largest` are one
            person; after a cut they are changed only where they are surely the same.
        who: Pictures of the person whose face is replaced, instead of `--faces`.
        role: One of several new faces: its sources, and whose face they replace: what `--faces` takes or a
            picture of the person ("ana.jpg=person1", "ben.mp4=ref.jpg"). A face belongs to the first role
            that names it; `--source` comes last.
        start: First moment: seconds ("12.5"), a clock time ("1:02.5") or a frame ("250f").
        end: Moment after the last one, written like start.
        job: Folder for this job's state; without it one in the cache.
        json: Print one event a line as JSON; the last one is the result.
        detect: Finding faces.
        track: Following faces.
        swap: Replacing the face.
        mask: Where the new face is shown.
        enhance: Restoring the new face.
        safety: Judging whether a clip may be worked on.
        encode: Writing the result.
        device: The machine.
    """
    from mien.app import roles

    settings = Settings(
        detect=detect,
        track=track,
        swap=swap,
        mask=mask,
        enhance=enhance,
        safety=safety,
        encode=encode,
        device=device,
    )
    wanted = Job(
        target=target,
        output=output,
        cast=roles.cast(role, roles.joined(source), faces, roles.joined(who)),
        start=start,
        end=end,
        settings=settings,
    )
    return _swap(wanted, job, json)


def _swap(job: Job, folder: Path | None, json: bool) -> int:
    from mien.run import verbs

    return follow(verbs.swap(job, folder=folder), json)


def jobs(
    action: tyro.conf.Positional[
        Literal["list", "continue", "clean", "pause", "resume", "cancel", "retry", "move", "log", "work"]
    ] = "list",
    job: tyro.conf.Positional[str] = "",
    position: tyro.conf.Positional[int] = 0,
    json: bool = False,
) -> int:
    """List and change the jobs in the cache: those of the queue, which the studio shows, and your own.

    Args:
        action: `list` all jobs; `continue` a stopped one; `clean` one, or all that neither run nor wait and,
            if none does, the saved analyses. In the queue: `pause`, `resume`, `cancel`, `retry` one, `move`
            it to another position, print its `log`, `work` until nothing waits.
        job: The job's id (of the queue, `q7`; of others the first characters are enough) or its folder.
        position: The place to `move` to, from 1.
        json: Print JSON.
    """
    from mien.app import jobs as jobs_

    if action == "list":
        return jobs_.show(json)
    if action == "clean":
        return jobs_.clean(job)
    if action == "log":
        return jobs_.log(job)
    if action == "work":
        return jobs_.work()
    if action != "continue":
        return jobs_.change(action, job, position, json)
    code = jobs_.proceed(job, json)
    if code is not None:
        return code
    folder = jobs_.folder(job)
    return _swap(folder.job(), folder.path, json)


def doctor(json: bool = False) -> int:
    """Show versions, processors, engines, models and free space: what would run here, and how.

    Args:
        json: Print JSON.
    """
    from mien.app import doctor as doctor_

    return doctor_.doctor(json)


def models(
    action: tyro.conf.Positional[Literal["list", "info", "pull", "verify", "path", "add", "remove"]] = "list",
    names: tyro.conf.Positional[tuple[str, ...]] = (),
    task: Task | None = None,
    accept_licence: bool = False,
    accept_changed: bool = False,
    json: bool = False,
) -> int:
    """List the networks that there are, get their files, and add your own.

    A network whose licence is not a permissive one is fetched after its licence was accepted.

    Args:
        action: `list` all, or those named; `info` says everything about some; `pull` gets their files, and
            without a name those used by default; `verify` reads installed files whole; `path` prints where
            they lie; `add` takes over a card of yours (a TOML file); `remove` gives one up, or removes a
            model's files.
        names: Names of models; for `add` paths of TOML files.
        task: List only networks for this.
        accept_licence: `pull`: accept the licences of what is fetched. This is remembered.
        accept_changed: `pull`: let files count that are not those first seen under their name.
        json: Print one JSON object a line.
    """
    from mien.app import models as models_

    if action == "list":
        return models_.show(names, task, json)
    if action == "pull":
        return models_.pull(names, accept_licence, accept_changed, json)
    if action in ("info", "verify"):
        return (models_.info if action == "info" else models_.verify)(names, json)
    return {"path": models_.path, "add": models_.add, "remove": models_.remove}[action](names)


def bench(
    target: Annotated[Path | None, tyro.conf.arg(metavar="VIDEO")] = None,
    source: Paths = (),
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="JSON")] = None,
    frames: int = 60,
    standins: bool = False,
    latency: bool = False,
    display: float = 60.0,
    compare: Annotated[tuple[Path, Path] | None, tyro.conf.arg(metavar="JSON JSON")] = None,
    faces: str = "prominent",
    json: bool = False,
    detect: Detect = Detect(),  # noqa: B008
    track: Track = Track(),  # noqa: B008
    swap: Swap = Swap(),  # noqa: B008
    mask: Mask = Mask(),  # noqa: B008
    enhance: Enhance = Enhance(),  # noqa: B008
    safety: Safety = Safety(),  # noqa: B008
    encode: Encode = Encode(),  # noqa: B008
    device: Device = Device(),  # noqa: B008
) -> int:
    """Measure where the time of a swap goes: every stage and network, on this machine.

    Args:
        target: The video to work on; without it a clip is made from the demo's portrait.
        source: Pictures that show the new face; without them the demo's other portrait.
        output: A JSON file to write; a Markdown file and a PNG chart get the same name beside it.
        frames: How many frames of the clip are used; 0 for all of a given one.
        standins: Run without weights: networks of the same layers and cost with made-up ones. Everything
            that is written says so.
        latency: One frame at a time, as in a live run: how long each waits, the rate that can be held, and
            an estimate of the time from the camera's glass to the display's. Only the JSON file is written.
        display: With `latency`, pictures a second of the display.
        compare: Two results to show side by side; nothing is run.
        faces: Whose face is replaced, as in `mien swap`.
        json: Print events and result as one JSON object a line.
        detect: Finding faces.
        track: Following faces.
        swap: Replacing the face.
        mask: Where the new face is shown.
        enhance: Restoring the new face.
        safety: Judging whether a clip may be worked on.
        encode: Writing the result.
        device: The machine.
    """
    from mien.app import bench as bench_

    if compare is not None:
        return bench_.compare(*compare)
    groups = {"detect": detect, "track": track, "swap": swap, "mask": mask, "enhance": enhance}
    settings = Settings.model_validate({**groups, "safety": safety, "encode": encode, "device": device})
    asked = bench_.Asked(target, joined(source), faces, frames, standins, settings, latency, display)
    return bench_.bench(asked, output, json)


def render(
    project: tyro.conf.Positional[Path],
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    start: str = "",
    end: str = "",
    job: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    json: bool = False,
) -> int:
    """Render a project's file (TOML), as the studio saves it: the result has the same bytes.

    A stopped run continues where it was: repeat the same command.

    Args:
        project: The file.
        output: The file to write; without it the project's own.
        start: Another first moment than the project's.
        end: Another end.
        job: Folder for this job's state; without it one in the cache.
        json: Print one event a line as JSON; the last one is the result.
    """
    from mien.run import project as documents

    wanted = documents.read(project.expanduser())
    return _swap(wanted.job(output, start=start, end=end), job, json)


def studio(
    host: str = "127.0.0.1",
    port: int = 0,
    folder: Paths = (),
    token: bool = False,
    no_browser: bool = False,
) -> int:
    """Open the studio: an editor in the browser, served by this machine.

    Args:
        host: The address to listen on. On any other than this machine's own a token is needed, which is
            printed once.
        port: The port; 0 takes the first free one from 8642 on.
        folder: Files below these folders can be used; without one those below your own folder, or, where
            others can reach the server, below the current one.
        token: Need the token on this machine, too: for machines that several people use.
        no_browser: Do not open a browser.
    """
    from mien.app import serve

    return serve.studio(host, port, joined(folder), token, not no_browser)


COMMANDS: dict[str, Callable[..., int]] = {
    "swap": swap,
    "analyse": analyse,
    "review": review,
    "jobs": jobs,
    "models": models,
    "doctor": doctor,
    "bench": bench,
    "render": render,
    "studio": studio,
    "live": live,
}


def follow(events: Generator[Any], json: bool, facts: Screen | None = None) -> int:
    """Show the events of a verb; on Ctrl-C say how to continue.

    Args:
        events: Of the verb.
        json: Whether they are printed as JSON.
        facts: What shows them instead of bars and lines.
    """
    from mien.app.show import Bars, Lines
    from mien.types import Started

    started: list[Started] = []
    screen: Screen = facts or (Lines() if json else Bars())
    try:
        with screen:
            for event in events:
                if isinstance(event, Started):
                    started.append(event)
                screen.show(event)
    except errors.MienError as error:
        screen.failed(error)
        return exit_code(error)
    except KeyboardInterrupt:
        events.close()
        stopped = _stopped(started[-1] if started else None)
        screen.failed(stopped)
        return exit_code(stopped)
    return 0


def _stopped(started: Started | None) -> errors.Cancelled:
    """What to say after Ctrl-C: how to continue, where something was kept."""
    if started is None or not started.job:
        return errors.Cancelled("run", "stopped", "Repeat the command to begin again.")
    from mien.run.place import jobs_home

    name = started.job[:12] if started.folder.parent == jobs_home() else str(started.folder)
    problem = "stopped; finished segments are kept"
    return errors.Cancelled(f"job {started.job[:12]}", problem, f"To continue: mien jobs continue {name}")


def exit_code(error: errors.MienError) -> int:
    """The process's exit code for an error."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)


def _terminate(number: int, frame: FrameType | None) -> None:
    """Treat SIGTERM like Ctrl-C, so that threads and files are closed in order."""
    raise KeyboardInterrupt


def _later(command: Callable[..., int]) -> Callable[..., Callable[[], int]]:
    """The same command, put off: parsing it runs nothing, so that parsing's own errors can be told apart."""

    @functools.wraps(command)
    def put_off(*args: object, **kwargs: object) -> Callable[[], int]:
        return functools.partial(command, *args, **kwargs)

    return put_off


def _parsed(arguments: Sequence[str]) -> Callable[[], int]:
    """What the arguments ask for. Exits with 2 and one message where they are wrong."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            command: Callable[[], int] = tyro.extras.subcommand_cli_from_dict(
                {name: _later(command) for name, command in COMMANDS.items()},
                prog="mien",
                description="Change who is on screen: find the people, say who becomes whom, render.\n\n"
                "`mien COMMAND --help` explains a command, `mien --version` tells the version.",
                config=(tyro.conf.FlagCreatePairsOff,),
                args=arguments,
            )
    except SystemExit:
        sys.stderr.write(_brief(said.getvalue()))
        raise
    return command


def _meaning(group: str, field: str) -> str:
    """What the settings say about a field."""
    section = Settings.model_fields[group.lower()].default
    return str(type(section).model_fields[field].description or "").replace("\n", " ")


def _brief(text: str) -> str:
    """One line for a setting that is out of its range, else what the parser said."""
    flat = " ".join(re.sub("[\u2500-\u257f]", " ", text).split())
    wrong = re.search(r"validation errors? for (\w+) (\w+) (.+?) \[type=", flat)
    if wrong is None:
        return text
    group, field, problem = wrong.groups()
    option = f"--{group.lower()}.{field.replace('_', '-')}"
    if "match pattern" in problem:
        return f"mien: {option}: is not written as it must be. {_meaning(group, field)}\n"
    return f"mien: {option}: {problem[0].lower()}{problem[1:]}. `mien swap --help` says what it means.\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments in (["--version"], ["-V"]):
        print(f"mien {version('mien')}")
        return 0
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _parsed(arguments or ["--help"])()
    except errors.MienError as error:
        print(f"mien: {error}", file=sys.stderr, flush=True)
        return exit_code(error)
    except KeyboardInterrupt:
        print("mien: stopped.", file=sys.stderr, flush=True)
        return 130
    except BrokenPipeError:  # the reader of our output went away
        sys.stderr.close()
        return 1


if __name__ == "__main__":
    sys.exit(main())
