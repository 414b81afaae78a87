"""Presets: settings under a name, kept as TOML files in the home."""

from __future__ import annotations

import errno
import threading
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, unquote

from fastapi import APIRouter
from fastapi import Path as InPath
from pydantic import BaseModel, ValidationError

from mien.app.server.errors import Refusal, responses
from mien.errors import JobError, SettingsError
from mien.media.atomic import atomic
from mien.run import toml
from mien.settings import Settings

if TYPE_CHECKING:
    from mien.app.server.state import State

MOST = 500
"""Most presets."""
Name = Annotated[str, InPath(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f/\\]+$")]
"""What a preset is called."""


class Preset(BaseModel):
    """Settings under a name."""

    name: str
    settings: Settings


class Presets:
    """The presets of a home: `HOME/presets/NAME.toml`, each the settings that differ from the defaults."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "presets"
        self._lock = threading.Lock()

    def _path(self, name: str) -> Path:
        return self.folder / f"{quote(name, safe=' ')}.toml"

    def names(self) -> list[str]:
        """What they are called, in order."""
        found = (unquote(path.name.removesuffix(".toml")) for path in self.folder.glob("*.toml"))
        return sorted(found, key=str.casefold)

    def get(self, name: str) -> Preset:
        """A preset.

        Raises:
            Refusal: There is none of this name.
            SettingsError: Its file is not as it must be.
        """
        path = self._path(name)
        try:
            value = tomllib.loads(path.read_text(encoding="utf-8"))
            return Preset(name=name, settings=Settings.model_validate(value))
        except FileNotFoundError as error:
            raise _absent(name) from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "its content"
            problem = f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}"
            raise SettingsError(path, problem, "Mend that line or delete the preset.") from error
        except ValueError as error:
            problem = str(error).splitlines()[0]
            raise SettingsError(path, f"cannot be read: {problem}", "Mend the file or delete it.") from error
        except OSError as error:
            raise _absent(name) if error.errno == errno.ENAMETOOLONG else _refused(path, error) from error

    def put(self, name: str, settings: Settings) -> Preset:
        """Keep settings under a name; others of that name are gone.

        Raises:
            MediaError: They cannot be written.
            JobError: The same, for their folder.
            Refusal: There are too many presets, or the name is too long.
        """
        path = self._path(name)
        if len(path.name) > 240:
            raise Refusal("request", name, "is too long for a name", "Choose a shorter one.", 422)
        content = toml.text(settings.model_dump(mode="json", exclude_defaults=True)).encode()
        with self._lock:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _refused(self.folder, error) from error
            if not path.exists() and len(self.names()) >= MOST:
                raise Refusal("conflict", name, f"is one too many: there are {MOST}", "Delete some.")
            with atomic(path) as file:
                file.write(content)
        return Preset(name=name, settings=settings)

    def remove(self, name: str) -> None:
        """Forget a preset.

        Raises:
            Refusal: There is none of this name.
        """
        path = self._path(name)
        try:
            path.unlink()
        except FileNotFoundError as error:
            raise _absent(name) from error
        except OSError as error:
            raise _absent(name) if error.errno == errno.ENAMETOOLONG else _refused(path, error) from error


def _refused(path: Path, error: OSError) -> JobError:
    return JobError(path, f"cannot be used ({error.strerror})", "See who may read and write it.")


def _absent(name: str) -> Refusal:
    return Refusal("not_found", name, "is no preset that there is", "`GET /api/presets` lists them.")


def router(state: State) -> APIRouter:
    """Presets."""
    routes = APIRouter(responses=responses(404))
    presets = Presets(state.home)

    @routes.get("/presets")
    def names() -> list[str]:
        """What the presets are called."""
        return presets.names()

    @routes.get("/presets/{name}", response_model_exclude_defaults=True)
    def preset(name: Name) -> Preset:
        """A preset; settings that are as usual are left out."""
        return presets.get(name)

    @routes.put("/presets/{name}", response_model_exclude_defaults=True, responses=responses(409))
    def keep(name: Name, settings: Settings) -> Preset:
        """Keep settings under a name; others of that name are gone."""
        return presets.put(name, settings)

    @routes.delete("/presets/{name}", status_code=204)
    def remove(name: Name) -> None:
        """Forget a preset."""
        presets.remove(name)

    return routes
