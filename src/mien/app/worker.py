"""The worker: takes the queue's lines one by one and has them done by a process of its own (`app.hand`).

    python -m mien.app.worker --home HOME

One worker works on a home at a time; a lock sees to that and ends with the process. Whatever happens to it,
the next one goes on with what it left: a stopped swap continues at its finished segments.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue as queues
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any

from mien.app.show import complain
from mien.errors import JobError, MienError
from mien.run.queue import Failure, Line, Queue
from mien.types import Progress, Warned

TICK = 0.1
"""Seconds between two looks at what was wished."""
NOTED = 0.25
"""Seconds between two writes of progress."""
IDLE = 60.0
"""Seconds after which the process that works is ended, so that its memory is free."""
GRACE = {"": 10.0, "pause": 10.0, "cancel": 0.5}
"""Seconds that a line gets to stop in order, by what was wished; then its process is killed, which loses
nothing but the open segment."""
BACKOFF = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before a worker that has ended is started again, the first time, the second, ..."""


def _alone() -> dict[str, Any]:
    """Arguments that keep a process out of the terminal's group: Ctrl-C reaches us alone, and we end it."""
    return {} if os.name == "nt" else {"start_new_session": True}


class Hand:
    """The process that does the work. Its events are read by threads; `close` ends it.

    Args:
        home: The cache.
    """

    def __init__(self, home: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mien.app.hand", str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **_alone(),
        )
        self._events: queues.SimpleQueue[dict[str, Any] | None] = queues.SimpleQueue()
        self._said: deque[str] = deque(maxlen=200)
        readers = ((self._read, self._process.stdout), (self._hear, self._process.stderr))
        self._threads = [threading.Thread(target=run, args=(file,), daemon=True) for run, file in readers]
        for thread in self._threads:
            thread.start()

    def _read(self, file: IO[bytes]) -> None:
        for line in file:
            with contextlib.suppress(ValueError):  # the last line of a killed process may be torn
                self._events.put(json.loads(line))
        self._events.put(None)

    def _hear(self, file: IO[bytes]) -> None:
        for line in file:
            self._said.append(line.decode(errors="replace").rstrip())

    def order(self, value: Mapping[str, Any]) -> None:
        """Give it a line's work; where it is gone, that shows among its events."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(value).encode() + b"\n")
            self._process.stdin.flush()

    def event(self, seconds: float) -> dict[str, Any] | None:
        """The next event; an empty one where none came in time, None where the process has ended."""
        try:
            return self._events.get(timeout=seconds)
        except queues.Empty:
            return {}

    def said(self) -> list[str]:
        """What it printed since the last time, the newest lines."""
        return [self._said.popleft() for _ in range(len(self._said))]

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Ask it to stop in order."""
        self._process.terminate()

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    def close(self) -> int:
        """End it if it still runs, and give everything back; returns its exit code, below 0 a signal's."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # this alone ends one that is idle
            self._process.stdin.close()
        try:
            code = self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        for thread in self._threads:
            thread.join()
        for file in (self._process.stdout, self._process.stderr):
            if file is not None:
                file.close()
        return code


class Worker:
    """Works on a queue until it is told to stop.

    Args:
        queue: Of which this process holds the lock.
        stop: Set when it is to end.
        tell: Called with each line that has come to rest.
    """

    def __init__(self, queue: Queue, stop: threading.Event, tell: Callable[[Line], None]) -> None:
        self._queue, self._stop, self._tell = queue, stop, tell
        self._hand: Hand | None = None

    def work(self, until_empty: bool = False) -> None:
        """Take lines and do them, one after the other.

        Args:
            until_empty: End when nothing is queued, instead of waiting for more.
        """
        self._queue.recover()
        worked = time.monotonic()
        try:
            while not self._stop.is_set():
                line = self._queue.take()
                if line is not None:
                    self._tell(self._do(line))
                    worked = time.monotonic()
                elif until_empty:
                    return
                else:
                    if time.monotonic() - worked > IDLE:
                        self._drop()
                    self._stop.wait(2 * TICK)
        finally:
            self._drop()

    def _drop(self) -> int:
        """End the process that works; returns its exit code."""
        hand, self._hand = self._hand, None
        return 0 if hand is None else hand.close()

    def _do(self, line: Line) -> Line:
        """Have one line done, stopped or failed."""
        if self._hand is None or not self._hand.alive:
            self._drop()
            self._hand = Hand(self._queue.home)
        hand = self._hand
        spec = {**self._queue.spec(line.id), "since": line.started}
        hand.order({"kind": line.kind, "spec": spec})
        notes = _Notes(self._queue, line.id, hand)
        brake = _Brake(hand)
        while True:
            event = hand.event(TICK)
            if event is None:
                notes.flush()
                code = self._drop()
                return (
                    self._queue.stopped(line.id)
                    if brake.on
                    else self._queue.fail(line.id, _crashed(line, code))
                )
            if event.get("event") in ("finished", "failed"):
                notes.flush()
                if event["event"] == "finished":
                    return self._queue.finish(line.id, event)
                parts = ("kind", "subject", "problem", "advice")
                return self._queue.fail(line.id, Failure(*(event[part] for part in parts)))
            notes.add(event)
            wish = self._queue.wish(line.id)
            if wish or self._stop.is_set() or brake.on:
                brake.press(GRACE[wish])


class _Brake:
    """Stops a process in order, or by force when its time is up."""

    def __init__(self, hand: Hand) -> None:
        self._hand = hand
        self._end = float("inf")
        self.on = False

    def press(self, grace: float) -> None:
        """Ask once; each further call may shorten the time and looks whether it is up.

        Args:
            grace: Seconds from now at most.
        """
        if not self.on:
            self._hand.stop()
        if not self.on or grace < min(GRACE["pause"], self._end - time.monotonic()):
            self._end = min(self._end, time.monotonic() + grace)
        self.on = True
        if time.monotonic() >= self._end:
            self._hand.kill()


class _Notes:
    """Gathers what a line reports and writes it down a few times a second."""

    def __init__(self, queue: Queue, name: str, hand: Hand) -> None:
        self._queue, self._name, self._hand = queue, name, hand
        self._progress: Progress | None = None
        self._stage = ""
        self._warned: list[Warned] = []
        self._said: list[str] = []
        self._folder = ""
        self._written = 0.0

    def add(self, event: Mapping[str, Any]) -> None:
        """Take an event in, or nothing; write if it is time."""
        kind = event.get("event")
        if kind == "progress":
            self._progress = Progress(*(event[k] for k in ("stage", "done", "total", "fps", "eta")))
            if self._stage != self._progress.stage:
                self._stage = self._progress.stage
                self._said.append(f"{self._stage}: {self._progress.total}")
        elif kind == "warned":
            self._warned.append(Warned(event["subject"], event["message"]))
        elif kind == "started":
            self._folder = event["folder"] if event["job"] else ""
            done = f", {event['resumed']} of them done already" if event["resumed"] else ""
            self._said.append(f"started: {event['frames']} frames{done}")
            self._written = 0.0
        if time.monotonic() - self._written >= NOTED:
            self.flush()

    def flush(self) -> None:
        """Write down what there is."""
        self._written = time.monotonic()
        said = [*self._said, *self._hand.said()]
        if self._progress or self._warned or said or self._folder:
            self._queue.note(
                self._name, progress=self._progress, warned=self._warned, said=said, folder=self._folder
            )
        self._progress, self._warned, self._said, self._folder = None, [], [], ""


def _crashed(line: Line, code: int) -> Failure:
    """That the process that worked has ended by itself."""
    how = f"exit code {code}"
    if code < 0:
        with contextlib.suppress(ValueError):
            how = signal.Signals(-code).name
    advice = "The log may tell why; too little memory is one reason. `retry` goes on with what is finished."
    return Failure("internal", line.title, f"its process ended unexpectedly ({how})", advice)


@contextlib.contextmanager
def _turn(queue: Queue, stop: threading.Event, wait: bool) -> Iterator[bool]:
    """The right to work; False where the wait for it was ended.

    Raises:
        JobError: Another worker is there, and nobody wants to wait.
    """
    tries = 0
    with contextlib.ExitStack() as stack:
        while not stop.is_set():
            try:
                stack.enter_context(queue.working())
            except JobError as error:
                tries += 1
                if not wait and tries > 5:  # somebody who only looks holds it for a moment
                    advice = "It does what is queued; `mien jobs` shows it."
                    raise JobError(queue.home, "has a worker already", advice) from error
                stop.wait(2 * TICK)
            else:
                yield True
                return
        yield False


def serve(
    home: Path,
    stop: threading.Event,
    *,
    wait: bool = False,
    until_empty: bool = False,
    tell: Callable[[Line], None] = lambda line: None,
) -> None:
    """Work on a home's queue.

    Args:
        home: The cache.
        stop: Set when it is to end; what is running is stopped in order and stays queued.
        wait: Wait until no other worker is there.
        until_empty: End when nothing is queued.
        tell: Called with each line that has come to rest.

    Raises:
        JobError: The queue cannot be used, or another worker is there and `wait` is not asked.
    """
    with Queue(home) as queue, _turn(queue, stop, wait) as mine:
        if mine:
            Worker(queue, stop, tell).work(until_empty)


class Keeper:
    """Keeps a worker running beside the server. A context manager.

    Leaving it stops the worker in order: what it was doing stays queued. Should this process be killed, the
    worker notices and stops as well.

    Args:
        home: The cache.
    """

    def __init__(self, home: Path) -> None:
        self._command = [sys.executable, "-m", "mien.app.worker", "--home", str(home), "--wait", "--attached"]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="mien-keeper", daemon=True)

    def __enter__(self) -> Keeper:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _keep(self) -> None:
        ended = 0
        while not self._stop.is_set():
            began = time.monotonic()
            with contextlib.suppress(OSError):  # no memory or process left for the moment
                self._run()
            ended = 0 if time.monotonic() - began > 60.0 else ended + 1
            self._stop.wait(BACKOFF[min(ended, len(BACKOFF)) - 1])

    def _run(self) -> None:
        """Run one worker until it ends or is to."""
        with subprocess.Popen(self._command, stdin=subprocess.PIPE, **_alone()) as process:
            while process.poll() is None and not self._stop.wait(TICK):
                continue
            if self._stop.is_set():
                _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End an attached worker: in order, or by force where that takes too long."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(GRACE["pause"] + 5.0)
    except subprocess.TimeoutExpired:
        process.kill()


def _until_closed(stop: threading.Event) -> None:
    while os.read(0, 1024):
        continue
    stop.set()


@contextlib.contextmanager
def until_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, instead of interrupting what is done in the block."""
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a worker; returns the exit code: 0 when it was told to end, 6 where there is one already."""
    parser = argparse.ArgumentParser(prog="python -m mien.app.worker", description="Work on the queue.")
    parser.add_argument("--home", type=Path, required=True, help="the cache")
    parser.add_argument("--wait", action="store_true", help="wait until no other worker is there")
    parser.add_argument("--attached", action="store_true", help="end when stdin ends")
    parser.add_argument("--until-empty", action="store_true", help="end when nothing is queued")
    given = parser.parse_args(argv)
    try:
        with until_signal() as stop:
            if given.attached:
                threading.Thread(target=_until_closed, args=(stop,), daemon=True).start()
            serve(given.home, stop, wait=given.wait, until_empty=given.until_empty)
    except MienError as error:
        complain(error)
        return 6
    return 0


if __name__ == "__main__":
    sys.exit(main())
