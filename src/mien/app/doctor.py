"""`mien doctor`: what would run here, and how."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from pathlib import Path

from mien.errors import MienError
from mien.media import codecs
from mien.models import engines, installed
from mien.models.card import Card
from mien.models.choice import Book, Trial
from mien.models.mediapipe import CARDS
from mien.models.plan import BOOK
from mien.models.runtime import Runtime, available_threads
from mien.models.store import Store
from mien.run.place import jobs_home

LIBRARIES = (
    "mien",
    "av",
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
    "openvino",
    "pillow",
    "pydantic",
    "scipy",
    "torch",
)


def doctor(as_json: bool) -> int:
    """Print the report; 0 where everything that is needed works, else 5."""
    report = examine()
    if as_json:
        print(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        for heading, facts in report.items():
            print(heading)
            for name, value in facts.items():
                print(f"  {name:<24} {value}")
    return 5 if any(value.startswith("fails") for value in report["models"].values()) else 0


def examine() -> dict[str, dict[str, str]]:
    """Heading to name to finding. Fetches nothing."""
    return {
        "machine": _machine(),
        "libraries": _libraries(),
        "models": _models(),
        "choices": _choices(),
        "codecs": _codecs(),
        "folders": _folders(),
    }


def _libraries() -> dict[str, str]:
    return {name: text or "absent" for name, text in installed.versions(LIBRARIES).items()}


def _machine() -> dict[str, str]:
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_version()} ({sys.executable})",
        "processor": _processor(),
        "threads": f"{available_threads()} of {os.cpu_count()}",
        "graphics processor": _cards(),
    }


def _cards() -> str:
    """NVIDIA cards, and what would run networks on them."""
    here = engines.machine()
    if not here.cards:
        return "none by NVIDIA"
    used = " and ".join(here.computing) or "nothing (pip install 'mien[gpu]')"
    pictures = "the card where networks change them" if "torch" in here.computing else "the processor"
    return f"{', '.join(here.cards)}; CUDA {here.driver}; networks: {used}; pictures: {pictures}"


def _processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _models() -> dict[str, str]:
    """Every card: loaded for a moment if its files are here. And the swapper, which needs none."""
    store = Store(offline=True)
    with Runtime(store=store) as runtime:
        found = {card.name: _model(card, store, runtime) for card in CARDS}
    return {**found, "mesh": "runs on the processor, without a network"}


def _model(card: Card, store: Store, runtime: Runtime) -> str:
    if not all(store.present(file) for file in card.files):
        size = sum(file.bytes for file in card.files) / 1e6
        return f"not here yet ({size:.1f} MB; fetched on first use, or now by `mien models pull`)"
    try:
        return f"runs on {runtime.session(card).engine}"
    except MienError as error:
        return f"fails: {error}"


def _choices() -> dict[str, str]:
    """Every measured choice of an engine that is kept: how fast, how exact, and by how much the rest lost."""
    found: dict[str, str] = {}
    for facts, choice in Book(Store().home / BOOK).all():
        card, asked = facts.get("card", "?"), facts.get("asked", "")
        name = card if asked == "auto auto auto" else f"{card} ({asked})"
        error = f", error {choice.error:.2%}" if choice.error else ""
        rows = f", {choice.batch} at once" if choice.batch > 1 else ""
        others = ", ".join(_trial(trial) for trial in choice.trials)
        found[name] = f"{choice.label}, {choice.ms:.1f} ms each{rows}{error} (of {others})"
    return found or {"none": "made with the first faces that a network sees"}


def _trial(trial: Trial) -> str:
    """One candidate of a choice."""
    if trial.problem:
        return f"{trial.candidate} fails"
    return f"{trial.candidate} {trial.ms:.1f} ms {trial.error:.2%}"


def _codecs() -> dict[str, str]:
    """What a result can be written as, by which encoder."""
    return {
        family: encoder if codecs.exists(encoder) else "absent from this build of FFmpeg"
        for family, encoder in codecs.FAMILIES.items()
    }


def _folders() -> dict[str, str]:
    places = {"models": Store().folder, "jobs": jobs_home(), "current folder": Path.cwd()}
    return {name: f"{path} ({_free(path)} free)" for name, path in places.items()}


def _free(path: Path) -> str:
    """Free space of the disk that holds a folder, or would."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return f"{shutil.disk_usage(path).free / 1e9:.1f} GB"
