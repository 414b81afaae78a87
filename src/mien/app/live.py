"""`mien live` on a terminal: a line of facts, keys, and a file of settings that is watched."""

from __future__ import annotations

import dataclasses
import json as json_
import sys
import threading
import tomllib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mien.app.show import Lines, complain, summary
from mien.errors import MienError, SettingsError
from mien.run.live import Happening, Live
from mien.run.pulse import Pulse
from mien.run.scene import Asked
from mien.settings import Feed, Role, Settings, Swap
from mien.types import Finished, Progress, Warned

STEP = 0.1
"""By how much a key changes the strength."""
LOOK = 0.3
"""Seconds between two looks at the file that is watched."""
KEYS = "keys: + - strength, space face on/off, s statistics, l label, q end"


def live(
    feed: Feed,
    cast: Sequence[Role],
    settings: Settings,
    outputs: Sequence[str],
    watch: Path | None,
    json: bool,
) -> Generator[Happening, None, None]:
    """The events of a live run that keys and a file can change.

    Args:
        feed: What comes in and what is drawn.
        cast: Who becomes whom.
        settings: Everything else.
        outputs: Where it goes.
        watch: A TOML file of settings; whenever it changes, they count at once.
        json: Whether the terminal is for a program: no keys then.

    Raises:
        MienError: See `Live.events`.
    """
    run = Live(feed, cast, settings, outputs)
    first = run.asked
    said: list[Happening] = []
    ended = threading.Event()
    workers = []
    if watch is not None:
        run.change(**told(watch.read_text(encoding="utf-8"), first))
        about = (watch, first, run, said.append, ended)
        workers.append(threading.Thread(target=_watch, args=about, daemon=True))
    if not json and sys.stdin.isatty():
        workers.append(threading.Thread(target=_listen, args=(run, said.append, ended), daemon=True))
    for worker in workers:
        worker.start()
    try:
        for event in run.events():
            while said:
                yield said.pop(0)
            yield event
    finally:
        ended.set()
        for worker in workers:
            worker.join(2 * LOOK)


def told(text: str, first: Asked) -> dict[str, Any]:
    """What a TOML text asks for, as `Live.change` takes it.

    Args:
        text: Groups of settings (`[swap]`, `[feed]` ...) and `source`, a list of files; what it does not name
            is as it was at the beginning.
        first: As it was at the beginning.

    Raises:
        SettingsError: It is no TOML, or a setting is unknown or out of its range.
    """
    try:
        groups: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError("settings file", f"is no TOML ({error})", "Mend it; it is read again.") from error
    feed, source = groups.pop("feed", {}), groups.pop("source", None)
    try:
        asked = {
            "settings": Settings.model_validate(_merged(first.settings.model_dump(), groups)),
            "feed": Feed.model_validate({**first.feed.model_dump(), **feed}),
            "cast": first.cast,
        }
    except (ValidationError, TypeError) as error:
        first_of: Any = error.errors()[0] if isinstance(error, ValidationError) else {}
        where = ".".join(map(str, first_of.get("loc", ()))) or "settings file"
        problem = str(first_of.get("msg", error)).lower()
        raise SettingsError(where, problem, "See `mien live --help`.") from error
    if source is not None:
        files = tuple(Path(name) for name in ([source] if isinstance(source, str) else source))
        asked["cast"] = (*first.cast[:-1], first.cast[-1].model_copy(update={"sources": files}))
    return asked


def _merged(whole: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values with some of them replaced."""
    made = dict(whole)
    for name, value in part.items():
        inner = made.get(name)
        nested = isinstance(value, Mapping) and isinstance(inner, Mapping)
        made[name] = _merged(inner, value) if nested and isinstance(inner, Mapping) else value
    return made


def pressed(key: str, asked: Asked) -> dict[str, Any] | None:
    """What a key asks for, as `Live.change` takes it; None for one without a meaning.

    Args:
        key: One character.
        asked: What counts now.
    """
    swap, feed = asked.settings.swap, asked.feed
    if key in "+=-":
        step = -STEP if key == "-" else STEP
        strength = round(min(max(swap.strength + step, 0.0), 1.5), 2)
        return {"settings": _with(asked.settings, swap.model_copy(update={"strength": strength}))}
    if key == " ":
        strength = 0.0 if swap.strength else 1.0
        return {"settings": _with(asked.settings, swap.model_copy(update={"strength": strength}))}
    if key == "s":
        return {"feed": feed.model_copy(update={"statistics": not feed.statistics})}
    if key == "l":
        return {"feed": feed.model_copy(update={"label": not feed.label})}
    return None


def _with(settings: Settings, swap: Swap) -> Settings:
    return settings.model_copy(update={"swap": swap})


def _changed(
    run: Live, change: Callable[[], dict[str, Any] | None], say: Callable[[Happening], None]
) -> None:
    """Ask for a change; what is wrong with it is said, and everything stays as it is."""
    try:
        asked = change()
        if asked is not None:
            run.change(**asked)
    except (MienError, OSError) as error:
        subject = error.subject if isinstance(error, MienError) else "settings file"
        problem = error.problem if isinstance(error, MienError) else str(error)
        say(Warned(subject, f"{problem}; everything stays as it was"))


def _watch(
    path: Path, first: Asked, run: Live, say: Callable[[Happening], None], ended: threading.Event
) -> None:
    """Read a file again whenever it changes."""
    known = _mark(path)
    while not ended.wait(LOOK):
        if (now := _mark(path)) != known and now is not None:
            known = now
            _changed(run, lambda: told(path.read_text(encoding="utf-8"), first), say)


def _mark(path: Path) -> tuple[int, int] | None:
    """What tells a changed file; None while it is not there, as when an editor replaces it."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size


def _listen(run: Live, say: Callable[[Happening], None], ended: threading.Event) -> None:
    """Do what keys say."""
    for key in keys(ended):
        if key in ("q", "\x1b"):
            run.stop()
            return
        _changed(run, partial(pressed, key, run.asked), say)


def keys(ended: threading.Event) -> Iterator[str]:
    """Keys as they are pressed, until the run has ended."""
    if sys.platform == "win32":
        import msvcrt

        while not ended.wait(0.05):
            while msvcrt.kbhit():
                yield msvcrt.getwch()
        return
    import select
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        while not ended.is_set():
            if select.select([sys.stdin], [], [], LOOK)[0]:
                yield sys.stdin.read(1)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


class Facts:
    """Shows a live run: notes as they come, and how it is doing in one line that stays."""

    def __init__(self, json: bool) -> None:
        self._lines = Lines() if json else None
        self._line = False

    def __enter__(self) -> Facts:
        if self._lines is None and sys.stdin.isatty():
            print(KEYS, file=sys.stderr, flush=True)
        return self

    def __exit__(self, *about: Any) -> None:
        self._end()

    def show(self, event: Happening) -> None:
        """Show one event."""
        if self._lines is not None:
            if isinstance(event, Pulse):
                print(json_.dumps({"event": "pulse", **dataclasses.asdict(event)}), flush=True)
            else:
                self._lines.show(event)
        elif isinstance(event, Pulse):
            self._stay(line(event))
        elif isinstance(event, Progress):
            self._stay(f"{event.stage}: {event.done:,} of {event.total:,}")
        elif isinstance(event, Warned):
            self._end()
            print(f"note: {event.subject}: {event.message}", file=sys.stderr, flush=True)
        elif isinstance(event, Finished):
            self._end()
            print(summary(event), flush=True)

    def failed(self, error: MienError) -> None:
        """Show why it ended early."""
        self._end()
        if self._lines is not None:
            self._lines.failed(error)
        else:
            complain(error)

    def _stay(self, text: str) -> None:
        """Write the line that stays, over the one before."""
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
            self._line = True

    def _end(self) -> None:
        """Leave the line that stays."""
        if self._line:
            print(file=sys.stderr, flush=True)
            self._line = False


def line(pulse: Pulse) -> str:
    """How a run is doing, in one line."""
    parts = [f"{pulse.fps:.1f} fps", f"{pulse.delay.median:.0f} ms", f"{pulse.dropped} dropped"]
    parts.append(f"{pulse.faces} face{'' if pulse.faces == 1 else 's'}")
    for name, out in pulse.outputs.items():
        lost = f", {out.dropped} dropped" if out.dropped else ""
        parts.append(f"{name}: {out.delay.median:.0f} ms{lost}")
    if pulse.pending:
        parts.append("a change is being prepared")
    return "  ".join(parts)
