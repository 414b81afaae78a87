"""Where faces are in a frame of a project's clip, for a page that looks at them closely."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from mien.app.server.errors import responses
from mien.app.server.people import Gallery

if TYPE_CHECKING:
    from mien.app.server.state import State


class FaceLine(BaseModel):
    """A face in a frame."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    track: int
    person: str
    """Whose it is, with the project's corrections."""
    box: tuple[float, float, float, float]
    """x, y, width and height in display pixels."""


def router(state: State) -> APIRouter:
    """Faces of a frame."""
    routes = APIRouter(responses=responses(403, 404))
    gallery = Gallery(state)

    @routes.get("/projects/{id}/faces")
    def faces(id: str, frame: Annotated[int, Query(ge=0, le=1 << 31)]) -> list[FaceLine]:
        """The faces in a frame, from left to right; none where the clip has no such frame."""
        _, _, who = gallery.known(id)
        found = []
        for track in who.tracks.tracks:
            if not track.start <= frame < track.end:
                continue
            left, top, right, bottom = (round(float(v), 1) for v in track.box[frame - track.start])
            box = (left, top, round(right - left, 1), round(bottom - top, 1))
            found.append(FaceLine(track=track.id, person=who.names[track.person].id, box=box))
        return sorted(found, key=lambda face: face.box[0])

    return routes
