"""The process that does the work of the queue's lines, one after the other, for the worker that started it.

    python -m mien.app.hand HOME

It reads one JSON object a line on stdin, `{"kind", "spec"}`, and answers with events as `mien swap --json`
prints them, the last one `finished` or `failed`. It is a process of its own so that a line can be stopped at
any moment, whatever a codec or network is doing, and so that what crashes it is one line's failure. When
stdin ends, its worker is gone: it stops at once. Every file it writes is whole or not there.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from mien import errors
from mien.run.job import Folder
from mien.types import Event, Finished, Started


def events(kind: str, spec: Mapping[str, Any], home: Path) -> Generator[Event, None, None]:
    """The events of a line's work. Heavy modules are imported when it begins.

    Args:
        kind: `swap`, `analyse`, `review` or `pull`.
        spec: As in `run.queue.Queue.add`.
        home: The cache.

    Raises:
        MienError: By what it yields from.
    """
    yield from _VERBS[kind](spec, home)


def _swap(spec: Mapping[str, Any], home: Path) -> Generator[Event, None, None]:
    from mien.run import verbs
    from mien.settings import Job

    job = Job.model_validate(spec["job"])
    # A result of this line's own is newer than the line: it was killed between writing it and saying so.
    if not spec.get("overwrite") and _older(job.output, float(spec.get("since", 0.0))):
        advice = "Give another output, or say that it may be overwritten."
        raise errors.MediaError(job.output, "exists already", advice)
    return verbs.swap(job, home=home)


def _older(path: Path, moment: float) -> bool:
    """Whether there is a file that was there before a moment."""
    try:
        return path.is_file() and path.stat().st_mtime < moment
    except OSError:
        return False


def _analyse(spec: Mapping[str, Any], home: Path) -> Generator[Event, None, None]:
    from mien.run import verbs
    from mien.settings import Settings

    output, sheet = spec.get("output"), spec.get("sheet")
    return verbs.analyse(
        Path(spec["target"]),
        Path(output) if output else None,
        Settings.model_validate(spec.get("settings") or {}),
        sheet_path=Path(sheet) if sheet else None,
        start=spec.get("start") or "",
        end=spec.get("end") or "",
        home=home,
    )


def _review(spec: Mapping[str, Any], home: Path) -> Generator[Event, None, None]:
    from mien.run import verbs
    from mien.settings import Job

    job, output = Job.model_validate(spec["job"]), spec.get("output")
    return verbs.review(
        job.target,
        job.output,
        Path(output) if output else None,
        job.settings,
        start=job.start,
        end=job.end,
        whole=job.whole,
        home=home,
    )


def _pull(spec: Mapping[str, Any], home: Path) -> Generator[Event, None, None]:
    from mien.models import catalogue
    from mien.models.store import Store
    from mien.run.report import fetched

    began = time.monotonic()
    known, store = catalogue.load(home), Store(home)
    wanted = [known.card(name) for name in spec["names"]]
    cards = list(dict.fromkeys(needed for card in wanted for needed in known.needed(card)))
    if spec.get("accept_licence"):
        for card in cards:
            if not store.accepted(card):
                store.accept(card)
    yield Started("", store.folder, 0)
    yield from fetched(cards, home)
    yield Finished(store.folder, 0, 0, 0, round(time.monotonic() - began, 3), 0.0)


_VERBS: Mapping[str, Callable[[Mapping[str, Any], Path], Generator[Event, None, None]]] = {
    "swap": _swap,
    "analyse": _analyse,
    "review": _review,
    "pull": _pull,
}


def work(
    order: Mapping[str, Any], home: Path, stop: threading.Event, say: Callable[[Mapping[str, Any]], None]
) -> None:
    """Do one line's work and say its events; whatever goes wrong is said as `failed`.

    Args:
        order: What was read from stdin.
        home: The cache.
        stop: Once it is set, the work is ended after its next event.
        say: Takes each event as JSON values.
    """
    from mien.app.show import plain

    try:
        with contextlib.closing(events(order["kind"], order["spec"], home)) as running:
            for event in running:
                say(plain(event))
                if stop.is_set():
                    return
    except errors.MienError as error:
        say(_failed(error))
    except Exception as error:
        traceback.print_exc()
        text = f"broke off: {type(error).__name__}: {error}"
        advice = "The job's log tells more; please report it."
        say(_failed(errors.MienError(order["kind"], text, advice)))


def _failed(error: errors.MienError) -> dict[str, Any]:
    parts = {"subject": error.subject, "problem": error.problem, "advice": error.advice}
    return {"event": "failed", "kind": error.kind, **parts}


@contextlib.contextmanager
def _turn(home: Path) -> Iterator[None]:
    """The right to work here: a killed worker's process may need a moment to see that it is alone."""
    place, told = Folder(home / "queue" / "hand"), False
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(place.locked())
                break
            except errors.JobError as error:
                if not told:
                    print(f"waiting: {error}", file=sys.stderr, flush=True)
                told = True
                time.sleep(0.1)
        yield


def main() -> int:
    """Work until stdin ends or a signal comes."""
    home, stop = Path(sys.argv[1]), threading.Event()
    orders: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def end(number: int, frame: FrameType | None) -> None:
        # Not by an exception: it could come in the middle of anything, a queue's own locks for one.
        stop.set()
        orders.put(None)

    signal.signal(signal.SIGTERM, end)
    # What libraries print must not get among the events.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    threading.Thread(target=_read, args=(orders,), daemon=True).start()

    def say(event: Mapping[str, Any]) -> None:
        out.write(json.dumps(event, ensure_ascii=False) + "\n")
        out.flush()

    try:
        with out, _turn(home):
            while not stop.is_set() and (order := orders.get()) is not None:
                work(order, home, stop, say)
    except BrokenPipeError:
        return 1
    return 0


def _read(orders: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    """Read stdin to its end, without the buffer of `sys.stdin`: a library that forks would wait for it."""
    waiting = b""
    while block := os.read(0, 1 << 16):
        *lines, waiting = (waiting + block).split(b"\n")
        for line in lines:
            orders.put(json.loads(line))
    os._exit(1)  # the worker is gone; closing in order could take long, and nothing needs it


if __name__ == "__main__":
    sys.exit(main())
