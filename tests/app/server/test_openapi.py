"""The API beside its own description: requests made from the description, answers held against it."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.specs.openapi import checks

from tests.app.server.conftest import Place

load_all_checks()
CHECKS = (
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.negative_data_rejection,
)
"""Not among them: that all which the schema allows is accepted, because a file may not be there, or be no
film, and that is not the schema's to say."""
EXAMPLES = 20
"""Of each operation and mode."""
OURS = {"Host": "127.0.0.1"}


@pytest.mark.slow
def test_answers_are_as_described(seen: Place) -> None:
    made = schemathesis.openapi.from_asgi("/api/openapi.json", seen.app, headers=OURS)
    failures, count = [], 0
    for found in made.exclude(path="/api/events").get_all_operations():  # the stream never ends
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            operation = found.ok()  # type: ignore[union-attr]
            count += 1
            try:
                _try(operation, mode, seen)
            except Exception as error:
                failures.append(f"{operation.label} ({mode.value}): {error}")
    assert count > 40
    assert not failures, "\n\n".join(failures)


def _try(operation: Any, mode: GenerationMode, place: Place) -> None:
    """Ask for one operation in many ways."""
    opened = place.project()

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    def run(case: Any) -> None:
        if mode is GenerationMode.POSITIVE:
            _make_real(case, opened, place)
        case.headers = {**(case.headers or {}), **OURS}
        answer = case.call()
        case.validate_response(answer, checks=list(CHECKS))
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"kind", "subject", "problem", "advice"}

    try:
        run()
    except Exception as error:
        if "generate" in str(error) or type(error).__name__ == "Unsatisfiable":
            return  # nothing wrong can be sent to an operation that takes nothing
        raise


def _make_real(case: Any, opened: dict[str, Any], place: Place) -> None:
    """Put things that are there into a request, or nothing but refusals would be seen."""
    real = {"id": opened["id"], "person": "person1", "track": 1, "number": 7, "name": "facemesh"}
    if not case.path.startswith(("/api/jobs", "/api/presets")):
        for name in case.path_parameters or {}:
            case.path_parameters[name] = real[name]
    paths = {"folder": str(place.films), "path": str(place.clip), "frame": 3}
    for name in paths.keys() & (case.query or {}).keys():
        case.query[name] = paths[name]
    if case.method == "POST" and case.path == "/api/projects" and isinstance(case.body, dict):
        case.body["target"] = str(place.clip)
    if case.method == "PUT" and case.path == "/api/projects/{id}" and isinstance(case.body, dict):
        case.body["project"]["target"] = str(place.clip)


def test_everything_is_described(place: Place) -> None:
    made = place.client.get("/api/openapi.json").json()
    for path, item in made["paths"].items():
        for method, operation in item.items():
            assert operation.get("description"), (method, path)
            for status, answer in operation["responses"].items():
                if status.startswith(("4", "5")):
                    told = answer["content"]["application/json"]["schema"]["$ref"]
                    assert told.rpartition("/")[2] in ("Body", "Newer"), (method, path, status)
