"""One shape for everything that goes wrong: `{"error": {"kind", "subject", "problem", "advice"}}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal, TypeAlias

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from mien import errors
from mien.run.projects import Conflict, UnknownProject
from mien.run.queue import OutputTaken, UnknownLine, WrongState

Kind: TypeAlias = Literal[
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
]
"""What an error is about."""

STATUSES: tuple[tuple[type[errors.MienError], Kind | None, int], ...] = (
    (UnknownLine, "not_found", 404),
    (UnknownProject, "not_found", 404),
    (errors.UnknownModel, "not_found", 404),
    (WrongState, "conflict", 409),
    (OutputTaken, "conflict", 409),
    (Conflict, "conflict", 409),
    (errors.Cancelled, None, 409),
    (errors.MienError, None, 422),
)
"""Exception to the kind that is told (None: its own) and the status of the answer; the first that fits."""


class Said(BaseModel):
    """What is wrong, in the three parts that every error has."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: Kind
    """What it is about, for programs."""
    subject: str
    """What is wrong: a path, a field, a model's name."""
    problem: str
    """What is wrong with it."""
    advice: str
    """What to do; empty where nothing helps."""


class Body(BaseModel):
    """The body of every answer whose status is 400 or more."""

    error: Said


class Refusal(errors.MienError):
    """An answer of the server's own: something is absent, in conflict, too large or not allowed."""

    def __init__(self, kind: Kind, subject: str, problem: str, advice: str = "", status: int = 0) -> None:
        super().__init__(subject, problem, advice)
        self.kind = kind
        self.status = status or _STATUS[kind]


_STATUS: Mapping[Kind, int] = {
    "request": 400,
    "unauthorised": 401,
    "not_found": 404,
    "conflict": 409,
    "too_large": 413,
    "internal": 500,
}


def not_found(what: str, name: object) -> Refusal:
    """That there is no such thing, as an error to raise."""
    return Refusal("not_found", str(name), f"is no {what} that there is", "Reload the page.")


def said(error: errors.MienError) -> tuple[int, Said]:
    """The status and the body's content for an error."""
    if isinstance(error, Refusal):
        kind, status = error.kind, error.status
    else:
        other, status = next((k, s) for cls, k, s in STATUSES if isinstance(error, cls))
        kind = other or error.kind
    return status, Said.model_validate(
        {"kind": kind, "subject": error.subject, "problem": error.problem, "advice": error.advice}
    )


def answer(error: errors.MienError) -> JSONResponse:
    """The answer that says an error."""
    status, told = said(error)
    return JSONResponse({"error": told.model_dump()}, status)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that may answer with these statuses."""
    return {n: {"model": Body, "description": HTTPStatus(n).phrase} for n in statuses}


def invalid(problems: Sequence[Mapping[str, Any]]) -> Refusal:
    """What a validation found, as one error; the first problem is told, the number of others added.

    Args:
        problems: As pydantic lists them.
    """
    first = problems[0]
    place = [str(part) for part in first.get("loc", ())]
    if len(place) > 1 and place[0] in ("body", "query", "path", "header"):
        place = place[1:]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    text = str(first.get("msg", "is not valid"))
    return Refusal("request", ".".join(place) or "body", f"{text[:1].lower()}{text[1:]}{more}", status=422)


def install(app: FastAPI) -> None:
    """Make an application answer every failure in the one shape."""

    def on_mien(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, errors.MienError)
        return answer(error)

    def on_validation(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return answer(invalid(error.errors()))

    def on_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        kind: Kind = {401: "unauthorised", 404: "not_found", 409: "conflict", 413: "too_large"}.get(
            error.status_code, "request"
        )  # type: ignore[assignment]
        told = Refusal(kind, request.url.path, str(error.detail).lower(), status=error.status_code)
        response = answer(told)
        response.headers.update(error.headers or {})
        return response

    def on_other(request: Request, error: Exception) -> JSONResponse:
        text = "something unforeseen went wrong"
        advice = "The server's output tells more; please report it."
        return answer(Refusal("internal", request.url.path, text, advice))

    app.add_exception_handler(errors.MienError, on_mien)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_other)
