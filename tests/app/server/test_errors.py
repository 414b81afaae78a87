"""Whatever goes wrong has one shape."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from mien import errors as mien_errors
from mien.app.server import errors
from tests.app.server.conftest import Place

KINDS = {
    "media",
    "settings",
    "model",
    "job",
    "no_face",
    "content",
    "runtime",
    "request",
    "not_found",
    "conflict",
    "unauthorised",
    "too_large",
    "internal",
}


def _all(kind: type[mien_errors.MienError]) -> set[type[mien_errors.MienError]]:
    return {kind, *(deeper for own in kind.__subclasses__() for deeper in _all(own))}


def test_every_error_of_the_program_has_an_answer() -> None:
    for kind in _all(mien_errors.MienError) - {errors.Refusal}:
        if kind.__module__.startswith("tests.") or kind.__init__ is not mien_errors.MienError.__init__:
            continue
        status, told = errors.said(kind("clip.mp4", "is broken", "Mend it."))
        assert told.kind in KINDS
        assert 400 <= status < 500
        assert (told.subject, told.problem, told.advice) == ("clip.mp4", "is broken", "Mend it.")


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "kind"),
    [
        ("GET", "/api/nothing", b"", 404, "not_found"),
        ("GET", "/nothing", b"", 404, "not_found"),
        ("PATCH", "/api/about", b"", 405, "request"),
        ("POST", "/", b"", 405, "request"),
        ("POST", "/api/projects", b"{", 422, "request"),
        ("POST", "/api/projects", b"[]", 422, "request"),
        ("POST", "/api/projects", b"\xff", 400, "request"),
        ("POST", "/api/projects", b'{"target": 5}', 422, "request"),
        ("GET", "/api/models?task=x", b"", 422, "request"),
        ("GET", "/api/projects/x", b"", 404, "not_found"),
    ],
)
def test_answers(place: Place, method: str, path: str, content: bytes, status: int, kind: str) -> None:
    headers = {"Content-Type": "application/json"} if content else {}
    answer = place.client.request(method, path, content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(answer.json()) == {"error"}
    assert set(error) == {"kind", "subject", "problem", "advice"}
    assert error["kind"] == kind
    assert error["problem"]
    if status == 405:
        assert answer.headers["allow"]


def test_what_nobody_foresaw_tells_nothing_of_the_inside(place: Place) -> None:
    @place.app.get("/api/broken")
    def broken() -> None:
        raise RuntimeError("secret of the inside")

    answer = place.client.get("/api/broken")
    assert answer.status_code == 500
    assert answer.json()["error"]["kind"] == "internal"
    assert "secret" not in answer.text


def test_fields_are_named_as_people_write_them() -> None:
    class Sample(BaseModel):
        number: int

    try:
        Sample.model_validate({"number": "x"})
    except ValueError as error:
        told = errors.invalid(error.errors())  # type: ignore[attr-defined]
    assert (told.subject, told.status) == ("number", 422)
    assert told.problem.startswith("input should be a valid integer")
    both = errors.invalid([{"loc": ("body", "a", 1), "msg": "Is wrong"}, {"loc": (), "msg": "Too"}])
    assert (both.subject, both.problem) == ("a.1", "is wrong (and 1 more)")
