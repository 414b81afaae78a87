"""What a bench run found, as numbers, and as text, Markdown and JSON. `bench.chart` draws it.

Where stand-ins ran, every line says so: their times are those of the networks, their pictures are nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mien.bench.meters import Usage
from mien.errors import JobError
from mien.models.card import Task
from mien.types import Finished

MARK = "stand-in"
"""The word in every line of a run on stand-ins."""
SAID = "stand-ins: made-up weights, shows cost, not results"

ROWS: tuple[tuple[str, tuple[str, ...], tuple[Task, ...]], ...] = (
    ("decode", ("decode 1", "decode"), ()),
    ("detect", ("detect",), ("detect",)),
    ("landmark", ("landmark", "thumbnail", "find"), ("landmark", "pose")),
    ("embed", ("embed",), ("embed", "convert")),
    ("swap", ("swap",), ("swap",)),
    ("enhance", ("enhance",), ("enhance",)),
    (
        "mask + blend",
        ("tracks", "crop", "mask", "carry", "blend", "paste", "upload", "download"),
        ("occlude", "parse", "matte"),
    ),
    ("encode", ("encode",), ()),
)
"""Rows of the table: name, stages of a run in it, tasks of its networks. `find` is what pass one does beside
looking for new faces, most of it landmarks, and `thumbnail` what it does ahead; other stages make the last
row."""
OTHERS = "others"
NONE = "-"
NO_CARD = "none"
"""What stands for the name of a graphics card where there is none."""
DERIVED = ("fps", "wall_ms_per_frame", "networks_ms_per_frame", "wall_over_networks")
"""Numbers in the JSON that follow from others there."""


class Part(BaseModel):
    """A frozen group of numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Row(Part):
    """One line of the table of stages."""

    name: str
    ms_per_frame: float
    """Wall time; stages in different threads overlap."""
    percent: float
    """Of all stages."""
    device: str
    engine: str
    """Of the networks in it, with commas; "-" for none."""
    precision: str
    parts: dict[str, float] = {}
    """Stage to ms a frame, where the row has several or one of another name."""
    gpu_ms_per_frame: float = 0.0
    """Time on the card, by its own events; 0 where nothing of it ran there."""


class Net(Part):
    """What one network cost."""

    card: str
    ms_per_frame: float
    calls: float
    ms_per_call: float
    batch: float
    """Mean number of items in a call."""
    engine: str
    gpu_ms_per_frame: float = 0.0
    """As in `Row`; with copies from and to the host where the inputs lie there."""


class Clip(Part):
    """What was worked on."""

    name: str
    width: int
    height: int
    rate: float
    """Frames a second."""
    seconds: float


class Pace(Part):
    """Wall time, apart from what happens once."""

    seconds: float
    """Of the whole run."""
    startup: float
    """Of it, before and between the passes: probing, loading and measuring networks, the source."""
    steady_ms: float
    """Of a frame in both passes together, once they run; 0 where the clip is too short to tell."""


class Measured(Part):
    """What every measurement says of itself."""

    kind: str
    format: Literal[1] = 1
    standins: tuple[str, ...] = ()
    """Cards that were stand-ins."""
    note: str = ""
    date: str
    machine: dict[str, str]
    versions: dict[str, str]
    clip: Clip
    settings: dict[str, Any]


class Report(Measured):
    """What a bench run found."""

    kind: Literal["mien bench"] = "mien bench"
    frames: int
    faces: int
    rows: tuple[Row, ...]
    networks: tuple[Net, ...]
    pace: Pace
    cpu_percent: float
    """Processor time over wall time times threads."""
    threads: int
    gpu: str
    """Name of the card; `NO_CARD` where there is none."""
    gpu_percent: float
    peak_mb: float
    events: tuple[dict[str, Any], ...] = ()

    @property
    def fps(self) -> float:
        """Frames a second over the whole run."""
        return self.frames / max(self.pace.seconds, 1e-9)

    @property
    def wall_ms(self) -> float:
        """Wall time of a frame, start-up included."""
        return 1000.0 * self.pace.seconds / max(self.frames, 1)

    @property
    def networks_ms(self) -> float:
        """Time of all networks for a frame; what runs at the same time counts twice."""
        return sum(net.ms_per_frame for net in self.networks)

    @property
    def over_networks(self) -> float:
        """Wall time of a frame over that of the networks: steady where that is known; 0 without networks."""
        wall = self.pace.steady_ms or self.wall_ms
        return wall / self.networks_ms if self.networks_ms else 0.0


def rows(finished: Finished, tasks: Mapping[str, Task], standins: Sequence[str] = ()) -> tuple[Row, ...]:
    """The table of stages.

    Args:
        finished: The last event of a run.
        tasks: Card name to its task; one that is absent is a swapper from a file of the user's.
        standins: Cards that were stand-ins.
    """
    left = {name: row["ms_per_frame"] for name, row in finished.stages.items()}
    total = sum(left.values()) or 1.0
    card = {name: row.get("gpu_ms_per_frame", 0.0) for name, row in finished.stages.items()}
    table = []
    for name, stages, kinds in ROWS:
        parts = {stage: left.pop(stage) for stage in stages if stage in left}
        used = {card: text for card, text in finished.engines.items() if tasks.get(card, "swap") in kinds}
        if parts or used:
            table.append(_row(name, parts, total, used, standins, card))
    if left:
        table.append(_row(OTHERS, left, total, {}, standins, card))
    return tuple(table)


def _row(
    name: str,
    parts: dict[str, float],
    total: float,
    used: Mapping[str, str],
    standins: Sequence[str],
    card: Mapping[str, float],
) -> Row:
    ms = sum(parts.values())
    engines = [split(text) for text in used.values()]
    engine = _joined(one[0] for one in engines)
    if any(card in standins for card in used):
        engine += f" ({MARK})"
    return Row(
        name=name,
        ms_per_frame=round(ms, 3),
        percent=round(100.0 * ms / total, 1),
        device=_joined((one[1] for one in engines), "CPU"),
        engine=engine,
        precision=_joined(one[2] for one in engines),
        parts={} if list(parts) == [name] else {stage: round(value, 3) for stage, value in parts.items()},
        gpu_ms_per_frame=round(sum(card[stage] for stage in parts), 3),
    )


def _joined(words: Any, empty: str = NONE) -> str:
    """Each word once, with commas."""
    return ", ".join(dict.fromkeys(words)) or empty


def split(label: str) -> tuple[str, str, str]:
    """Engine, device and precision of a session's label, such as "OpenVINO 2026.1.0 CPU bf16"."""
    words = label.split()
    return (" ".join(words[:-2]), words[-2], words[-1]) if len(words) > 2 else (label, NONE, NONE)


def nets(finished: Finished, standins: Sequence[str] = ()) -> tuple[Net, ...]:
    """What each network cost, the dearest first."""
    found = [
        Net(
            card=card,
            ms_per_frame=round(row.get("ms_per_frame", 0.0), 3),
            calls=row.get("calls", 0.0),
            ms_per_call=round(row.get("ms_per_call", 0.0), 3),
            batch=round(row.get("items", 0.0) / max(row.get("calls", 0.0), 1.0), 2),
            engine=finished.engines.get(card, NONE) + (f" ({MARK})" if card in standins else ""),
            gpu_ms_per_frame=round(row.get("gpu_ms_per_frame", 0.0), 3),
        )
        for card, row in finished.networks.items()
    ]
    return tuple(sorted(found, key=lambda net: -net.ms_per_frame))


def used(usage: Usage) -> dict[str, Any]:
    """The fields of a report that say what the run took of the machine."""
    return {
        "cpu_percent": round(usage.cpu_percent, 1),
        "threads": usage.threads,
        "gpu": usage.gpu or NO_CARD,
        "gpu_percent": round(usage.gpu_percent, 1),
        "peak_mb": round(usage.peak_mb),
    }


def line(report: Report) -> str:
    """The report as JSON on one line, with the numbers that follow from others."""
    return json.dumps(_values(report), ensure_ascii=False)


def dumped(report: Report) -> str:
    """The report as JSON for a file; where stand-ins ran on one line, as every line says so."""
    if report.standins:
        return line(report) + "\n"
    return json.dumps(_values(report), ensure_ascii=False, indent=2) + "\n"


def _values(report: Report) -> dict[str, Any]:
    derived = (report.fps, report.wall_ms, report.networks_ms, report.over_networks)
    return report.model_dump(mode="json") | {
        name: round(value, 3) for name, value in zip(DERIVED, derived, strict=True)
    }


def load(path: Path) -> Report:
    """Read a report back.

    Raises:
        JobError: The file cannot be read or is none.
    """
    advice = "Give a file that `mien bench -o FILE.json` wrote."
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        for name in DERIVED:
            values.pop(name, None)
        return Report.model_validate(values)
    except OSError as error:
        raise JobError(path, f"cannot be read ({error.strerror})", advice) from error
    except (ValidationError, ValueError, AttributeError, TypeError) as error:
        raise JobError(path, "is no result of a bench run", advice) from error
