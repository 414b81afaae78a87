"""What can be set, as a JSON schema from which a form is made."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from mien.media import codecs
from mien.models.card import Task
from mien.run import scene
from mien.run.needs import NETWORKS_ONLY
from mien.settings import Feed, Settings

if TYPE_CHECKING:
    from mien.app.server.state import State

TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "detect.model": "detect",
        "track.model": "landmark",
        "track.refine": "landmark",
        "track.embedder": "embed",
        "swap.model": "swap",
        "mask.occlusion": "occlude",
        "mask.parser": "parse",
        "enhance.model": "enhance",
    }
)
"""Settings that name cards, and the task of these."""
MANY = ("mask.occlusion",)
"""Those among them that name several, with commas."""
NETWORKS = ("network", "dfm")
APPLIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **{f"{group}.{name}": NETWORKS for group, names in NETWORKS_ONLY.items() for name in names},
        "swap.size": ("network",),
        "swap.morph": ("dfm",),
        "swap.eyes": ("mesh",),
        "mask.parser": NETWORKS,
        "enhance.blend": NETWORKS,
        "enhance.fidelity": NETWORKS,
    }
)
"""Settings that do not count for every swapper, and the kinds for which they do: `mesh`, which needs no
network, `network`, a card, and `dfm`, a file."""


def schema(of: type[Settings] = Settings) -> dict[str, Any]:
    """The JSON schema of `Settings`.

    Args:
        of: The class, which may have more groups.

    Returns:
        The texts are the `description`s. A property that names a card has `x-task`, and `x-many` where it
        names several; one that does not count for every swapper has `x-applies`. The codec's `x-endings` are
        the file name endings that hold each, the usual one first.
    """
    made = of.model_json_schema()
    for name, field in of.model_fields.items():
        group = made["$defs"][type(field.default).__name__]["properties"]
        for own, told in group.items():
            full = f"{name}.{own}"
            if full in TASKS:
                told["x-task"] = TASKS[full]
            if full in MANY:
                told["x-many"] = True
            if full in APPLIES:
                told["x-applies"] = list(APPLIES[full])
            if full == "encode.codec":
                told["x-endings"] = {codec: list(codecs.endings(codec)) for codec in told["enum"]}
    return made


class _Live(Settings):
    """What can be set of a live run."""

    feed: Feed = Feed()


def live_schema() -> dict[str, Any]:
    """The same for a live run: with the group `feed`, and without what has no effect live."""
    made = schema(_Live)
    for full in scene.NEVER:
        group, _, name = full.partition(".")
        del made["$defs"][type(_Live.model_fields[group].default).__name__]["properties"][name]
    return made


def router(state: State) -> APIRouter:
    """Schema and defaults."""
    routes = APIRouter()

    @routes.get("/settings/schema")
    def form() -> dict[str, Any]:
        """The JSON schema of all settings.

        Texts are descriptions; `x-task` is the task of the models that a property names, `x-many` says that
        they may be several, `x-applies` for which kinds of swappers a property counts where not for all,
        `x-endings` which file name endings hold each codec, the usual one first.
        """
        return schema()

    @routes.get("/settings/defaults")
    def defaults() -> Settings:
        """All settings as they are where nobody changed them."""
        return Settings()

    return routes
