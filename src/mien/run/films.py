"""What is known of the clips that projects are about: frames and tracks, found once and remembered."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from pathlib import Path
from typing import Generic, TypeVar

from mien.errors import JobError, MediaError
from mien.faces import tracksfile
from mien.media import sequence
from mien.media.failure import media_error
from mien.models import catalogue
from mien.models.store import Store
from mien.run import casting, video
from mien.run.place import tracks_home
from mien.run.render import Footage
from mien.settings import Settings
from mien.types import Tracks

_Value = TypeVar("_Value")


class Remembered(Generic[_Value]):
    """The last few values by key; whoever asks for one that is being made waits for it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Future[_Value]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], _Value]) -> _Value:
        """The value of a key, made where it is not there; a failure is not remembered."""
        with self._lock:
            found = self._kept.get(key)
            mine = found is None
            if found is None:
                found = self._kept[key] = Future()
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        if mine:
            try:
                found.set_result(make())
            except BaseException as error:
                with self._lock:
                    self._kept.pop(key, None)
                found.set_exception(error)
        return found.result()


class Films:
    """Clips and their tracks. Safe to use from several threads.

    Args:
        home: The cache with models and analyses; None for the default one.
    """

    def __init__(self, home: Path | None = None) -> None:
        self._home = home
        self._films: Remembered[Footage] = Remembered(16)
        self._tracks: Remembered[Tracks] = Remembered(8)

    def film(self, target: Path) -> Footage:
        """The whole of a video.

        Raises:
            MediaError: It cannot be read, or is no video.
        """
        return self._films.get((target, _stamp(target)), lambda: _film(target))

    def analysis(self, target: Path, settings: Settings) -> Path:
        """Where the tracks of a whole video lie by these settings, whether or not they are there.

        Raises:
            MediaError: The video cannot be read.
            UnknownModel: A setting names no card.
            SettingsError: A setting names a card of another task.
        """
        known, store = catalogue.load(self._home), Store(self._home)
        resolved = casting.resolved(settings, known, store)
        return video.tracks_path(self.film(target), resolved, known, store, tracks_home(self._home))

    def tracks(self, target: Path, settings: Settings) -> Tracks | None:
        """The tracks of a whole video; None where it is not analysed yet by these settings.

        Raises:
            MediaError: The video cannot be read.
            UnknownModel: A setting names no card.
            SettingsError: A setting names a card of another task.
        """
        path = self.analysis(target, settings)
        try:
            return self._tracks.get((path, _stamp(path)), lambda: tracksfile.load(path))
        except (JobError, MediaError):  # absent, or damaged: made again by the next analysis
            return None


def _film(target: Path) -> Footage:
    if sequence.kind(target) != "other":
        raise MediaError(target, "is no video", "A project is about a video; `mien swap` changes pictures.")
    return video.footage(target, "", "")


def _stamp(path: Path) -> tuple[int, int]:
    """When a file was written, and its size: another file under the same name has others.

    Raises:
        MediaError: It is not there.
    """
    try:
        facts = path.stat()
    except OSError as error:
        raise media_error(path, error, "cannot be read") from error
    return facts.st_mtime_ns, facts.st_size
