"""Presets: settings under a name, kept as TOML files in the home.

GET    /presets            what they are called
GET    /preset?name=...    one of them; PUT keeps it, DELETE forgets it

The name is a parameter, not a part of the path: there "a/b" would be two parts and ".." none.
"""

from __future__ import annotations

import errno
import re
import threading
import tomllib
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, unquote

from fastapi import APIRouter, Query
from pydantic import BaseModel, ValidationError

from mien.app.server.errors import Refusal, responses
from mien.app.server.files import is_text_name
from mien.errors import JobError, SettingsError
from mien.media.atomic import atomic
from mien.run import toml
from mien.settings import Settings

if TYPE_CHECKING:
    from mien.app.server.state import State

MOST = 500
"""Most presets."""
LONGEST = 60
"""Most characters of a name."""
Name = Annotated[str, Query(min_length=1, max_length=1000)]
"""What a preset is called."""
_RESERVED = re.compile(r"\.|(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
"""What no file's name may begin with: a dot hides it, the others are devices of Windows."""


class Preset(BaseModel):
    """Settings under a name."""

    name: str
    settings: Settings


class Presets:
    """The presets of a home: `HOME/presets/NAME.toml`, each the settings that differ from the defaults.

    Names are in Unicode's form NFC: the same name in another form is the same preset, also where files are
    named so.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "presets"
        self._lock = threading.Lock()

    def _path(self, name: str) -> Path:
        """Where a preset lies, or would."""
        name = _composed(name)
        return next(iter(self._found().get(name, ())), self.folder / _file(name))

    def _found(self) -> dict[str, list[Path]]:
        """Every preset and its files, which may have been named by hand; the first of them counts."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.folder.glob("*.toml")):
            said = unquote(path.name.removesuffix(".toml"))
            if said and is_text_name(said):
                paths = found.setdefault(_composed(said), [])
                paths.insert(0 if said == _composed(said) else len(paths), path)
        return found

    def names(self) -> list[str]:
        """What they are called, in order."""
        return sorted(self._found(), key=str.casefold)

    def get(self, name: str) -> Preset:
        """A preset.

        Raises:
            Refusal: There is none of this name.
            SettingsError: Its file is not as it must be.
        """
        path = self._path(name)
        try:
            value = tomllib.loads(path.read_text(encoding="utf-8"))
            return Preset(name=_composed(name), settings=Settings.model_validate(value))
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
            Refusal: There are too many presets, or none can have this name.
        """
        name = _composed(name.strip())
        if problem := _unfit(name):
            raise Refusal("request", "name", problem, "Choose another one.", 422)
        path = self._path(name)
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
            for same in self._found().get(_composed(name), [path]):
                path = same
                path.unlink()
        except FileNotFoundError as error:
            raise _absent(name) from error
        except OSError as error:
            raise _absent(name) if error.errno == errno.ENAMETOOLONG else _refused(path, error) from error


def _composed(name: str) -> str:
    """A name in the one form that is compared."""
    return unicodedata.normalize("NFC", name)


def _file(name: str) -> str:
    """The name of a preset's file, which every system takes."""
    text = quote(name, safe=" ")
    return f"%{ord(text[0]):02X}{text[1:]}.toml" if _RESERVED.match(text) else f"{text}.toml"


def _unfit(name: str) -> str:
    """Why no preset can have a name; empty: one can."""
    if not name:
        return "is empty"
    if any(unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") for sign in name):
        return "has characters that cannot be shown"
    if len(name) > LONGEST:
        return f"has {len(name)} characters, {LONGEST} are the most"
    return "" if len(_file(name)) <= 240 else "is too long for the name of a file"


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

    @routes.get("/preset", response_model_exclude_defaults=True)
    def preset(name: Name) -> Preset:
        """A preset; settings that are as usual are left out."""
        return presets.get(name)

    @routes.put("/preset", response_model_exclude_defaults=True, responses=responses(409))
    def keep(name: Name, settings: Settings) -> Preset:
        """Keep settings under a name; others of that name are gone."""
        return presets.put(name, settings)

    @routes.delete("/preset", status_code=204)
    def remove(name: Name) -> None:
        """Forget a preset."""
        presets.remove(name)

    return routes
