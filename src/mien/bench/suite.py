"""Runs the whole pipeline on a clip and says where the time went."""

from __future__ import annotations

import dataclasses
import platform
import shutil
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from mien.bench import cardtext, meters, standins
from mien.bench import report as reports
from mien.bench.meters import Usage
from mien.bench.report import Clip, Pace, Report
from mien.errors import SettingsError
from mien.media import clip as clips
from mien.media import sequence
from mien.models import catalogue, engines, installed
from mien.models.card import Card
from mien.models.catalogue import Catalogue
from mien.models.store import Store, default_home
from mien.run import verbs
from mien.settings import Job, Settings
from mien.types import Event, Finished, Progress, Started, Warned

LIBRARIES = ("mien", "av", "numpy", "opencv-python-headless", "onnxruntime", "openvino")
PASSES = ("find", "render")
"""Stages whose progress is counted in frames: both passes."""


class Stopwatch:
    """Reads from a run's events how long what happens once takes, and how long each frame."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[float, int]] = {}
        self._last: dict[str, tuple[float, int]] = {}

    def see(self, event: Event, moment: float) -> None:
        """Take note of an event that came at a moment in seconds."""
        if isinstance(event, Progress) and event.stage in PASSES:
            self._first.setdefault(event.stage, (moment, event.done))
            self._last[event.stage] = (moment, event.done)

    def pace(self, seconds: float) -> Pace:
        """What was seen, of a run of so many seconds."""
        steady, passes = 0.0, 0.0
        for stage, (began, before) in self._first.items():
            ended, done = self._last[stage]
            if done > before:
                per_frame = (ended - began) / (done - before)
                steady += per_frame
                passes += per_frame * done  # what came before the first report went as fast
            else:
                return Pace(seconds=round(seconds, 3), startup=0.0, steady_ms=0.0)
        startup = max(seconds - passes, 0.0) if steady else 0.0
        return Pace(seconds=round(seconds, 3), startup=round(startup, 3), steady_ms=round(1000 * steady, 3))


def run(
    job: Job, folder: Path, *, use_standins: bool = False, small: bool = False, home: Path | None = None
) -> Generator[Event, None, Report]:
    """Run a job whose target is a video, from nothing, and measure it.

    Args:
        job: What to do.
        folder: An empty one for the job's state and its output; the caller removes it.
        use_standins: Replace the networks that have stand-ins by these.
        small: Small stand-ins, for tests.
        home: Folder of models and cards; None for the default one.

    Returns:
        What was found. All events of the run are passed on.

    Raises:
        MienError: As `verbs.swap`.
    """
    if sequence.kind(job.target) != "other":
        raise SettingsError("target", f"{job.target} is no video", "Give a video: pictures have no speed.")
    place, replaced = equipped(job.settings, home, small=small) if use_standins else (home, ())
    events: list[dict[str, Any]] = []
    watch, stopwatch = meters.watch(job.settings.device), Stopwatch()
    finished: Finished | None = None
    with watch, closing(verbs.swap(job, folder=folder / "job", home=place)) as work:
        began = time.perf_counter()
        for event in work:
            moment = time.perf_counter() - began
            stopwatch.see(event, moment)
            if not isinstance(event, Progress):
                events.append({"at": round(moment, 3), **_plain(event)})
            if isinstance(event, Finished):
                finished = event
            yield event
    if finished is None:
        raise ValueError("swap: expected a last event that says what was done")
    return summed(job, finished, stopwatch.pace(watch.usage.seconds), watch.usage, replaced, events, place)


def summed(
    job: Job,
    finished: Finished,
    pace: Pace,
    usage: Usage,
    replaced: tuple[str, ...],
    events: list[dict[str, Any]],
    home: Path | None = None,
) -> Report:
    """Everything that is known about a run."""
    tasks = {card.name: card.task for card in catalogue.load(home)}
    ran = tuple(name for name in replaced if name in finished.engines)
    frames = finished.frames
    return Report(
        standins=ran,
        note=reports.SAID if ran else "",
        **circumstances(job, clips.probe(job.target), frames),
        frames=frames,
        faces=finished.faces,
        rows=reports.rows(finished, tasks, ran),
        networks=reports.nets(finished, ran),
        pace=pace,
        events=tuple(events),
        **reports.used(usage),
    )


def circumstances(job: Job, film: clips.Clip, frames: int) -> dict[str, Any]:
    """The fields of a report that say when, where and on what something was measured."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "machine": _machine(),
        "versions": {name: text for name, text in installed.versions(LIBRARIES).items() if text},
        "clip": Clip(
            name=job.target.name,
            width=film.size[0],
            height=film.size[1],
            rate=round(float(film.rate), 3),
            seconds=round(frames / float(film.rate), 3),
        ),
        "settings": job.settings.model_dump(mode="json"),
    }


def equipped(settings: Settings, home: Path | None, *, small: bool = False) -> tuple[Path, tuple[str, ...]]:
    """A home of its own with the stand-ins that the settings need, and with the user's other models.

    It lies in the user's own home, so that a second run finds everything there.

    Returns:
        The home, and the cards that are stand-ins in it.

    Raises:
        UnknownModel: A setting names no card.
        SettingsError: A setting names a network that has no stand-in and is not here.
    """
    own = home or default_home()
    place = own / ("standins-small" if small else "standins")
    known, store = catalogue.load(home), Store(home)
    asked = named(settings, known)
    for field, name in asked.items():
        if name not in standins.NAMES and not store.installed(known.card(name)):
            advice = f"There are stand-ins of {', '.join(standins.NAMES)}."
            raise SettingsError(field, f"{name} has no stand-in and is not installed", advice)
    names = tuple(dict.fromkeys(name for name in asked.values() if name in standins.NAMES))
    _linked(store, known, place / "models", [f"{name}.onnx" for name in names])
    written = standins.cards(names, place / "models", small=small, known=known)
    _installed(written, own, place)
    return place, names


def named(settings: Settings, known: Catalogue) -> Mapping[str, str]:
    """Which cards the settings ask for beside those of the package's own analysis: field to name."""
    swapper = settings.swap.model
    asked = {"enhance.model": settings.enhance.model, "track.refine": settings.track.refine}
    if swapper != "mesh" and not swapper.lower().endswith(".dfm"):
        asked["swap.model"] = swapper
        latent = known.card(swapper).latent
        if latent is not None and latent.kind == "embedding":
            asked |= {"embedder": latent.embedder, "converter": latent.converter}
    if settings.detect.model in standins.NAMES:
        asked["detect.model"] = settings.detect.model
    if settings.track.embedder not in ("auto", "none"):
        asked["track.embedder"] = settings.track.embedder
    if settings.mask.regions:
        asked["mask.parser"] = settings.mask.parser
    for number, name in enumerate(settings.mask.occlusion.split(",")):
        asked[f"mask.occlusion{number or ''}"] = name.strip()
    return {field: name for field, name in asked.items() if name}


def _linked(store: Store, known: Catalogue, place: Path, instead: Sequence[str]) -> None:
    """Make a folder of models that has those of another, but for some that will be written."""
    place.mkdir(parents=True, exist_ok=True)
    for old in place.iterdir():
        if old.is_symlink() and (old.name in instead or not old.exists()):
            old.unlink()
    for name in {file.name for card in known for file in card.files}.difference(instead):
        path, target = store.folder / name, place / name
        if not path.is_file() or target.exists():
            continue
        try:
            target.symlink_to(path.resolve())
        except OSError:  # where links are not allowed
            shutil.copyfile(path, target)


def _installed(made: Sequence[Card], own: Path, place: Path) -> None:
    """Write cards where the catalogue looks for the user's, beside the user's others."""
    folder = catalogue.folder(place)
    folder.mkdir(parents=True, exist_ok=True)
    for old in catalogue.user_cards(place):
        old.unlink()
    for path in catalogue.user_cards(own):
        if catalogue.drafted(path).card.name not in {card.name for card in made}:
            shutil.copyfile(path, folder / path.name)
    for card in made:
        (folder / f"{card.name}.{standins.LICENCE}.toml").write_text(cardtext.toml(card), encoding="utf-8")


def _machine() -> dict[str, str]:
    found = engines.machine()
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "processor": found.processor,
        "precisions": " ".join(found.precisions),
    }


def _plain(event: Started | Warned | Finished) -> dict[str, Any]:
    """An event as JSON values, with its name in lower case."""
    values = {field.name: _value(getattr(event, field.name)) for field in dataclasses.fields(event)}
    return {"event": type(event).__name__.lower(), **values}


def _value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _value(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_value(inner) for inner in value]
    return value if isinstance(value, (int, float, str)) or value is None else str(value)
