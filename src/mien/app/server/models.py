"""Networks: what there is, what is here, and getting more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from mien.app import models as told
from mien.app.server.errors import responses
from mien.errors import ModelError
from mien.models import catalogue
from mien.models.card import Card, Task
from mien.models.store import Store, allowed, licence
from mien.run.queue import Line

if TYPE_CHECKING:
    from mien.app.server.state import State


class _Shown(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class Model(_Shown):
    """A network."""

    name: str
    task: Task
    family: str
    bytes: int | None
    """Of its files; None where that is not known."""
    licence: str
    commercial: Literal["yes", "no", "unknown"]
    """Whether the licence allows commercial use."""
    installed: bool
    gated: bool
    """Whether the licence must be accepted before it is fetched."""
    accepted: bool
    """Whether that was done, or need not be."""
    notes: str


class Facts(Model):
    """Everything about a network."""

    needs: list[str]
    """Networks that it cannot be used without."""
    card: dict[str, Any]
    """Its card, and what is here of its files."""


class Pull(_Shown):
    """How a network is got."""

    model_config = ConfigDict(extra="forbid")

    accept_licence: bool = False
    """Accept the licence of what is fetched; this is remembered."""


def _model(card: Card, store: Store) -> dict[str, Any]:
    brief = told.brief(card, store)
    return {**brief, "gated": card.gated, "notes": card.notes, "commercial": allowed(card)}


def router(state: State) -> APIRouter:
    """Networks."""
    routes = APIRouter()

    @routes.get("/models")
    def models(task: Task | None = None) -> list[Model]:
        """All networks, or those for a task."""
        store = Store(state.home)
        known = catalogue.load(state.home)
        return [Model(**_model(card, store)) for card in known if task in (None, card.task)]

    @routes.get("/models/{name}", responses=responses(404))
    def model(name: str) -> Facts:
        """Everything about a network."""
        store = Store(state.home)
        known = catalogue.load(state.home)
        card = known.card(name)
        needs = [other.name for other in known.needed(card) if other != card]
        return Facts(**_model(card, store), needs=needs, card=told.facts(card, store))

    @routes.post("/models/{name}/pull", status_code=202, responses=responses(404))
    def pull(name: str, given: Pull | None = None) -> Line:
        """Get a network's files, and those of the ones that it cannot be used without, as a job.

        An error of the kind `model` says that a licence must be accepted first.
        """
        store = Store(state.home)
        known = catalogue.load(state.home)
        cards = known.needed(known.card(name))
        accept = (given or Pull()).accept_licence
        closed = [card for card in cards if card.gated and not store.accepted(card)]
        if closed and not accept:
            terms = "; ".join(f"{card.name}: {licence(card)}" for card in closed)
            raise ModelError(
                name, f"has a licence that must be accepted first ({terms})", "Read it, then accept it."
            )
        for line in state.queue.lines():
            if line.kind == "pull" and line.open and name in state.queue.spec(line.id).get("names", ()):
                return line
        spec = {"names": [name], "accept_licence": accept}
        return state.queue.add("pull", spec, f"Get {name}", target=name)

    return routes
