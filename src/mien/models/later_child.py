"""The process that makes an engine ready, and how it is started.

It is a plain child, not one of `multiprocessing`: that would run the caller's own script again.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO

import numpy as np

from mien.models import choice, engines, later
from mien.models.engine import Engine
from mien.models.later import Proof, RefusedError, Work

_START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from mien.models import later_child; later_child.serve()"
)
_POLITE = 10
"""By how much it steps back behind the processes that somebody waits for."""


class Child:
    """Makes an engine ready in a process of its own, which ends with this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = False
        self._process: subprocess.Popen[bytes] | None = None

    def make(self, work: Work) -> Proof:
        """See `later.Builder`."""
        with tempfile.TemporaryDirectory(prefix="mien-engine-") as folder, tempfile.TemporaryFile() as said:
            answer = Path(folder) / "answer"
            with self._lock:
                if self._stopped:
                    raise RefusedError("it was broken off")
                # Its input stays open for as long as this process lives: that is how it knows.
                process = self._process = subprocess.Popen(
                    [sys.executable, "-c", _START],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                )
            with process:
                assert process.stdin is not None
                with contextlib.suppress(OSError):  # it is gone: its exit code says more
                    process.stdin.write(pickle.dumps(sys.path) + pickle.dumps((work, answer)))
                    process.stdin.flush()
                process.wait()
                with contextlib.suppress(OSError):  # what it did not read is lost with it
                    process.stdin.close()
            proof = later.read(answer)
            if proof is None:
                raise RefusedError(f"the process that makes it ended with {_how(process.returncode, said)}")
            return proof

    def stop(self) -> None:
        """See `later.Builder`."""
        with self._lock:
            self._stopped = True
            if self._process is not None and self._process.poll() is None:
                self._process.kill()


def _how(code: int, said: IO[bytes]) -> str:
    """Exit code and last words."""
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return f"code {code}: {lines[-1]}" if lines else f"code {code}"


def serve() -> None:
    """What the child does: reads the work, makes the engine, writes the proof."""
    work, answer = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(AttributeError, OSError):  # Windows has no such call
        os.nice(_POLITE)
    later.write(answer, prove(work))


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def prove(work: Work) -> Proof:
    """Make the engine, run it with every number of rows, and find what is right in float32."""
    try:
        _run(engines.load(work.network, work.candidate), work)
        engine = engines.load(work.network, work.reference)
        call = engine.prepare(1)
        return Proof(work.samples, tuple(call(sample) for sample in work.samples))
    except Exception as error:  # engines have classes of their own
        return Proof(problem=" ".join(str(error).split()) or type(error).__name__)


def _run(engine: Engine, work: Work) -> None:
    """Run every size once: some engines are only built by running."""
    for size in work.sizes:
        rows = choice.varied(work.samples, size, work.undivided)
        joined = {
            name: array if name in work.undivided else np.concatenate([row[name] for row in rows])
            for name, array in rows[0].items()
        }
        engine.prepare(size)(joined)
