"""Calls made from the dialect's own OpenAPI document, right and wrong ones: what comes back is as the document says."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any
from urllib.parse import urlencode

import httpx2 as httpx
import pytest
import schemathesis
import structlog
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from parley.core.core import Core
from parley.dialects.cloudflare.openapi import document
from tests.core.clients import VP8
from tests.dialects.cloudflare.client import SECRET, App, Session
from tests.fakes import FakeClock, FakeEngine

pytestmark = pytest.mark.slow

SCHEMA = schemathesis.openapi.from_dict(document("1"))
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
"""Not whether wrong data is refused: unknown keys, other spellings and nulls are taken, as clients need it. Methods and
secrets are tried in tables of their own."""
REFUSED_FOR_NOW = {"transport_unavailable_error", "adapter_unavailable", "adapter_not_found"}
"""Codes of what is not there, which have the status 503 as the reference has it."""
QUICK = {"connect_gate_s": 0.01, "media_s": 0.01, "turn_s": 0.05, "ack_s": 0.01}


@SCHEMA.parametrize()
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_what_comes_back_is_as_the_document_says(case: Case) -> None:
    before = structlog.get_config()["processors"]
    structlog.configure(processors=[_nowhere])
    try:
        for answer in asyncio.run(_answers(case)):
            case.validate_response(answer, checks=CHECKS)
            if answer.status_code >= 500:
                codes = {one.get("errorCode") for one in answer.json().get("tracks", [answer.json()])}
                assert answer.status_code == 503, answer.text
                assert codes <= REFUSED_FOR_NOW, answer.text
    finally:
        structlog.configure(processors=before)


async def _answers(case: Case) -> list[httpx.Response]:
    """The call as it is, and where it is on a session, on one that has something and on one that has nothing."""
    engine = FakeEngine()
    app = App(Core(engine, clock=FakeClock(), random=Random(1)), engine, timeouts=QUICK)
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8)
    await ada.publish("news")
    await bob.pull(ada.remote("cam"))
    empty = await app.session()
    paths = [{"appId": "app", "sessionId": one.id} for one in (ada, bob, empty)]
    if "sessionId" not in case.path_parameters:
        paths = paths[:1]
    whole = [case.operation.path.format(**path) for path in paths]
    return [await _call(app, case, case.formatted_path), *[await _call(app, case, path, ada) for path in whole]]


async def _call(app: App, case: Case, path: str, publisher: Session | None = None) -> httpx.Response:
    """publisher: whose id stands in place of every other in the body."""
    body = case.body if isinstance(case.body, dict | list | str | int | float | bool | None) else {}
    if publisher is not None:
        body = _naming(body, publisher.id)
    content = None if case.operation.method == "get" else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {SECRET}"}
    url = f"/v1{path}?{urlencode(case.query or {}, doseq=True)}"
    return await app.http.request(case.method, url, content=content, headers=headers)


def _naming(value: Any, id: str) -> Any:
    if isinstance(value, dict):
        return {key: id if key == "sessionId" else _naming(inner, id) for key, inner in value.items()}
    if isinstance(value, list):
        return [_naming(inner, id) for inner in value]
    return value


def _nowhere(*_: object) -> Any:
    raise structlog.DropEvent
