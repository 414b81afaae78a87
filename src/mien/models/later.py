"""A better engine later: it is made ready by another process while a good one works.

Nobody waits for it. Once it is ready it has to show, in this process, that it gives what float32 gives; what
comes of it is the caller's business. Two processes that want the same engine make it once.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mien.models import choice, keep, records
from mien.models.choice import Rows, Trial
from mien.models.engine import Candidate, Engine, Network
from mien.types import Array

PATIENCE = 10.0
"""Seconds that closing waits for a step that cannot be broken off."""
_PROOF = "proof"
_STAMP = "1"


class RefusedError(Exception):
    """An engine is ready, and must not be used; says why."""


class _ClosedError(Exception):
    """Nobody wants it any more."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be made ready."""

    network: Network
    candidate: Candidate
    reference: Candidate
    """What says, in float32, which results are right."""
    samples: tuple[Rows, ...]
    """Real inputs of one row."""
    sizes: tuple[int, ...]
    """Numbers of rows that it will be given."""
    undivided: frozenset[str]
    """Inputs without a batch axis."""


@dataclass(frozen=True, slots=True)
class Proof:
    """That an engine was made, and what it has to give."""

    samples: tuple[Rows, ...] = ()
    wanted: tuple[Rows, ...] = ()
    """Results for the samples in float32."""
    problem: str = ""
    """Why it could not be made."""


class Builder(Protocol):
    """Makes what an engine loads from, so that loading it is quick."""

    def make(self, work: Work) -> Proof:
        """Make it; one that cannot be made is a proof with a problem.

        Raises:
            RefusedError: It broke off, and may succeed another time.
        """
        ...

    def stop(self) -> None:
        """Break `make` off, now or as soon as it begins; it may be called from another thread."""
        ...


class Later:
    """A thread that has an engine made, and hands it over.

    Args:
        work: What is wanted.
        folder: Where it is known to have been made; everything that it depends on is in the folder's name.
        builder: Makes it.
        adopt: Takes the proof; loads the engine, looks whether it is right, and uses it. Raises RefusedError
            where it must not be used.
        refuse: Takes the reason why there is none.
    """

    def __init__(
        self,
        work: Work,
        folder: Path,
        builder: Builder,
        adopt: Callable[[Proof], None],
        refuse: Callable[[str], None],
    ) -> None:
        self._work = work
        self._folder = folder
        self._builder = builder
        self._adopt = adopt
        self._refuse = refuse
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"later {work.network.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def pending(self) -> bool:
        """Whether neither `adopt` nor `refuse` was called to its end yet."""
        return self._thread.is_alive()

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the end of it."""
        self._thread.join(seconds)

    def close(self) -> None:
        """Break it off; neither `adopt` nor `refuse` is called from now on."""
        self._closed.set()
        self._builder.stop()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(PATIENCE)

    @property
    def closed(self) -> bool:
        """Whether nobody wants it any more."""
        return self._closed.is_set()

    def _run(self) -> None:
        try:
            proof = self._proof()
            if proof.problem:
                raise RefusedError(f"{proof.problem}. Delete {self._folder} to have it tried again")
            self._adopt(proof)
        except _ClosedError:
            return
        except Exception as error:  # engines have classes of their own; the one that works goes on
            if not self.closed:
                self._refuse(str(error) or type(error).__name__)

    def _proof(self) -> Proof:
        """What was made, by this process or by another one before."""
        with records.hold(self._folder / ".held", waiting=self._look):
            known = read(self._folder / _PROOF)
            if known is None:
                self._look()
                known = self._builder.make(self._work)
                self._look()
                write(self._folder / _PROOF, known)
        self._look()
        return known

    def _look(self) -> None:
        if self.closed:
            raise _ClosedError


def tried(engine: Engine, candidate: Candidate, proof: Proof, tolerance: float) -> Trial:
    """How an engine does with the samples of its proof.

    Args:
        engine: What was made.
        candidate: What it is.
        proof: What it has to give.
        tolerance: Largest error, of the card.

    Raises:
        RefusedError: It is further from float32 than that.
    """
    results, ms = choice.timed(engine.prepare(1), proof.samples)
    error = max(choice.deviation(a, b) for a, b in zip(results, proof.wanted, strict=True))
    most = max(tolerance, choice.EXACT if candidate.exact else 0.0)
    if error > most:
        raise RefusedError(f"its error is {error:.2%} of the largest value, and {most:.2%} are tolerated")
    return Trial(candidate.engine, candidate.precision, ms, error, way=candidate.way)


def read(path: Path) -> Proof | None:
    """A proof that was kept; None where there is no whole one."""
    blob = keep.read(path, _STAMP)
    if blob is None:
        return None
    with np.load(io.BytesIO(blob), allow_pickle=False) as data:
        rows: dict[str, dict[int, dict[str, Array]]] = {"samples": {}, "wanted": {}}
        for key in data.files:
            kind, _, rest = key.partition("/")
            number, _, name = rest.partition("/")
            if kind in rows:
                rows[kind].setdefault(int(number), {})[name] = data[key]
        problem = str(data["problem"])
    found: Mapping[str, tuple[Rows, ...]] = {
        kind: tuple(by[k] for k in sorted(by)) for kind, by in rows.items()
    }
    return Proof(found["samples"], found["wanted"], problem)


def write(path: Path, proof: Proof) -> None:
    """Keep a proof; where that cannot be done nothing is kept."""
    arrays: dict[str, Array] = {"problem": np.array(proof.problem)}
    for kind, rows in (("samples", proof.samples), ("wanted", proof.wanted)):
        arrays |= {f"{kind}/{k}/{name}": a for k, row in enumerate(rows) for name, a in row.items()}
    blob = io.BytesIO()
    np.savez(blob, allow_pickle=False, **arrays)
    keep.write(path, _STAMP, blob.getvalue())
