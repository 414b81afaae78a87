"""The measured choice of an engine, its precision and the number of rows it sees at once.

Every candidate runs the first real input. One whose outputs are further from those in float32 than its card
tolerates is out; of the others the fastest wins, whatever else the machine does meanwhile. What was found is
kept, so each machine measures once.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from mien.models import keep
from mien.models.engine import WINOGRAD, Call, Candidate, EngineName, Inapplicable, Precision
from mien.models.stopwatch import Stopwatch
from mien.types import Array

EXACT = 1e-3
"""Error below which two results in float32 are the same but for the order of sums."""
GAIN = 0.03
"""Share of time that something less simple must save: a lower precision, more rows at once, more weights."""
BATCHES = (4, 2)
"""Numbers of rows that are tried on the processor."""
HEAVY_BATCHES = (2,)
"""Of large networks on the processor, whose layers take much memory."""
CARD_BATCHES = (8, 4)
"""Numbers of rows that are tried on a graphics card, which one row leaves mostly idle."""
THREADS = 0.2
"""Share of time that further threads must save: others want them too."""
SECONDS = 0.5
"""About how long one candidate is timed, after its first run."""
RUNS = 10
"""Most times that it is run for that."""
QUICK = 0.01
"""Seconds of a run below which the clock counts: of many so short runs some do not have to wait, and what all
threads waited meanwhile says little of this one (1.3 ms came out as 0.15 on a busy machine)."""
QUICK_RUNS = 100
"""Most times that so quick a candidate is run."""

Rows: TypeAlias = Mapping[str, Array]
"""Input name to array: one row each, and those without a batch axis."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How one candidate did."""

    engine: EngineName
    precision: Precision
    ms: float = 0.0
    """Milliseconds a row, less what others took of the processor meanwhile; 0 where it did not run."""
    error: float = 0.0
    """Largest difference from float32 as a share of the largest value; the worst output's."""
    problem: str = ""
    """Why it did not run."""
    way: str = ""
    """As the candidate's."""

    @property
    def candidate(self) -> Candidate:
        """What was tried."""
        return Candidate(self.engine, self.precision, self.way)


@dataclass(frozen=True, slots=True)
class Choice:
    """What runs a network, and why."""

    engine: EngineName
    precision: Precision
    ms: float = 0.0
    """Milliseconds a row at `batch` rows; 0 where nothing was measured."""
    error: float = 0.0
    """Of its results against float32, as `Trial.error`."""
    batch: int = 0
    """Rows at once; 0 where that was not measured."""
    label: str = ""
    """Name, version, device and precision of the engine."""
    trials: tuple[Trial, ...] = ()
    """Everything that was tried; empty where there was one candidate only."""
    way: str = ""
    """As the candidate's."""

    @property
    def candidate(self) -> Candidate:
        """Engine, precision and way."""
        return Candidate(self.engine, self.precision, self.way)


def compare(
    candidates: Sequence[Candidate],
    prepare: Callable[[Candidate], Call],
    rows: Sequence[Rows],
    tolerance: float,
) -> tuple[Trial | None, tuple[Trial, ...]]:
    """Run every candidate and find the best.

    Args:
        candidates: The first one that runs gives the result that the others are compared with.
        prepare: Loads one; may let go of the one before.
        rows: Real inputs, one row each; more than one shows the error better.
        tolerance: Largest error of a lower precision.

    Returns:
        The winner, None where none ran; and all trials in order.
    """
    trials: list[Trial] = []
    reference: list[Rows] = []
    for candidate in candidates:
        try:
            results, ms = timed(prepare(candidate), rows)
        except Inapplicable:
            continue
        except Exception as failure:  # engines have classes of their own; another one may do
            problem = str(failure)
            trials.append(Trial(candidate.engine, candidate.precision, problem=problem, way=candidate.way))
            continue
        reference = reference or results
        error = max(deviation(a, b) for a, b in zip(results, reference, strict=True))
        trials.append(Trial(candidate.engine, candidate.precision, ms, error, way=candidate.way))
    return _best(trials, tolerance), tuple(trials)


def best_batch(
    prepare: Callable[[int], Call],
    rows: Sequence[Rows],
    undivided: frozenset[str],
    ms: float,
    tolerance: float,
    batches: Sequence[int] = BATCHES,
) -> tuple[int, float]:
    """The number of rows at once that is quickest for each.

    Several count only where every row comes out as it does alone.

    Args:
        prepare: Compiles for a number of rows; may let go of the number before.
        rows: Real inputs, one row each; further ones are made out of them.
        undivided: Inputs without a batch axis.
        ms: Milliseconds of one row alone.
        tolerance: Largest deviation of a row.
        batches: Numbers of rows to try.

    Returns:
        Rows at once, and milliseconds a row.
    """
    found: tuple[int, float, Rows] = (1, ms, {})
    for batch in batches:
        joined = _joined(varied(rows, batch, undivided), undivided)
        results, spent = timed(prepare(batch), [joined], hopeless=ms * batch)
        if spent / batch < (1.0 - GAIN) * found[1]:
            found = (batch, spent / batch, results[0])
    batch, least, together = found
    if batch > 1:
        alone = prepare(1)
        for k, row in enumerate(varied(rows, batch, undivided)):
            if deviation({n: a[k : k + 1] for n, a in together.items()}, alone(row)) > max(tolerance, EXACT):
                return 1, ms
    return batch, least


def batches(on_card: bool, heavy: bool) -> tuple[int, ...]:
    """Numbers of rows to try: on a graphics card, or of a large network on the processor, or of another."""
    return CARD_BATCHES if on_card else HEAVY_BATCHES if heavy else BATCHES


def deviation(found: Rows, wanted: Rows) -> float:
    """Largest difference as a share of the largest wanted value, of the worst output.

    Infinite where something found is no number; where nothing but 0 is wanted, the difference itself.
    """
    worst = 0.0
    for name, b in wanted.items():
        a = found[name]
        if a is b:
            continue
        if a.shape != b.shape:
            return float("inf")
        difference = float(np.abs(a - b).max(initial=0.0))
        largest = float(np.abs(b).max(initial=0.0))
        share = difference / largest if largest > 0 else difference
        worst = max(worst, share if np.isfinite(share) else float("inf"))
    return worst


def timed(call: Call, rows: Sequence[Rows], hopeless: float = float("inf")) -> tuple[list[Rows], float]:
    """Results for every input, and the least milliseconds of one run.

    Where a long first run takes more than `hopeless` milliseconds, it is the only one of a single input.
    """
    results: list[Rows] = []
    least = shown = float("inf")
    spent, runs = 0.0, 0
    while runs < max(2, len(rows)) or (spent < SECONDS and runs <= (QUICK_RUNS if shown < QUICK else RUNS)):
        watch = Stopwatch()
        result = call(rows[runs % len(rows)])
        shown, took = min(shown, watch.passed()), watch.seconds()
        least = min(least, took)
        spent += took if runs else 0.0  # the first run still makes things ready
        if runs < len(rows):
            results.append(result)
        runs += 1
        if runs == len(rows) == 1 and took > SECONDS and took * 1e3 > hopeless:
            break
    return results, (shown if shown < QUICK else least) * 1e3


def varied(rows: Sequence[Rows], count: int, undivided: frozenset[str]) -> list[Rows]:
    """As many different rows as wanted: the given ones, then turned round, then fainter and fainter."""
    made: list[Rows] = []
    for k in range(count):
        row, again = rows[k % len(rows)], k // len(rows)
        made.append({n: a if n in undivided else _altered(a, again) for n, a in row.items()})
    return made


def _altered(array: Array, times: int) -> Array:
    """Another array of the same kind; the same one for 0 times."""
    if not times or not np.issubdtype(array.dtype, np.floating):
        return array
    turned = np.flip(array, -1) if times % 2 else array
    return np.ascontiguousarray((turned * 0.8 ** (times // 2)).astype(array.dtype))


def _joined(rows: Sequence[Rows], undivided: frozenset[str]) -> Rows:
    """Several rows as one input."""
    return {
        name: array if name in undivided else np.concatenate([row[name] for row in rows])
        for name, array in rows[0].items()
    }


def _best(trials: Sequence[Trial], tolerance: float) -> Trial | None:
    """The fastest of those that are near enough; a lower precision has to be worth it."""
    ran = [trial for trial in trials if not trial.problem]
    if not ran:
        return None
    full = [t for t in ran if t.candidate.exact and t.error <= max(tolerance, EXACT)]
    lower = [t for t in ran if not t.candidate.exact and t.error <= tolerance]
    exact = min(full, key=_weighed, default=None)
    quick = min(lower, key=_weighed, default=None)
    if quick is not None and (exact is None or quick.ms < (1.0 - GAIN) * exact.ms):
        return quick
    return exact or ran[0]


def _weighed(trial: Trial) -> float:
    """Milliseconds, and what it takes from others: threads, or memory for more weights."""
    price = THREADS if trial.candidate.threads else GAIN if trial.way == WINOGRAD else 0.0
    return trial.ms / (1.0 - price)


class Book:
    """Choices kept in a file; what cannot be read or written is measured again.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def find(self, facts: Mapping[str, str]) -> Choice | None:
        """What was chosen under exactly these facts."""
        return next((choice for kept, choice in reversed(self.all()) if kept == facts), None)

    def add(self, facts: Mapping[str, str], choice: Choice, place: Sequence[str]) -> None:
        """Keep a choice.

        Args:
            facts: Everything that it depends on.
            choice: What was found.
            place: Names of facts that tell one user of the file from another; an older choice that has the
                same ones is forgotten.
        """
        with self._lock:
            others = [
                (kept, old)
                for kept, old in self.all()
                if any(kept.get(name) != facts.get(name) for name in place)
            ]
            entries = [{"facts": dict(f), "choice": asdict(c)} for f, c in [*others, (facts, choice)]]
            text = json.dumps({"version": 1, "choices": entries}, indent=1, ensure_ascii=False)
            keep.replace(self._path, text.encode())

    def all(self) -> list[tuple[dict[str, str], Choice]]:
        """Facts and choice of everything kept, the oldest first."""
        try:
            data = json.loads(self._path.read_text("utf-8"))
            return [_entry(entry) for entry in data["choices"]] if data["version"] == 1 else []
        except (OSError, ValueError, KeyError, TypeError):
            return []


def _entry(entry: Any) -> tuple[dict[str, str], Choice]:
    """One entry of the file."""
    kept = dict(entry["choice"])
    kept["trials"] = tuple(Trial(**trial) for trial in kept["trials"])
    return dict(entry["facts"]), Choice(**kept)
