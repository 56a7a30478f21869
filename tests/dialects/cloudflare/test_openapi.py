"""The dialect's own OpenAPI document against an extract of the reference: paths, fields, types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from parley.dialects.cloudflare.openapi import document
from tests.dialects.cloudflare.client import App

REFERENCE = json.loads((Path(__file__).parents[2] / "vectors/cloudflare/openapi.json").read_text())
OURS = document("1")
ADDED = {"PUT /apps/{appId}/sessions/{sessionId}/datachannels/update"}
"""Operations that only the newer edition of the reference has."""
IGNORED = {
    "tracks/update": {
        "sessionDescription.sdp",
        "sessionDescription.type",
        "tracks[].bidirectionalMediaStream",
        "tracks[].kind",
    },
    "websocket/new": {"tracks[].mode", "tracks[].adapterId"},
    "/establish": {"dataChannel.sessionId", "dataChannel.id"},
    "/datachannels/close": {
        "dataChannels[].location",
        "dataChannels[].sessionId",
        "dataChannels[].dataChannelName",
    },
}
"""Fields of requests that mean nothing to what is asked."""
NEWER = {
    "/{sessionId}": ("dataChannels[]",),
    "/establish": ("datachannel.", "dataChannel."),
    "/datachannels/new": ("datachannels[]", "dataChannels[]"),
    "/datachannels/close": ("datachannels[]", "dataChannels[]"),
}
"""Fields of answers that only the newer edition of the reference has."""


@pytest.mark.parametrize("operation", sorted(REFERENCE))
def test_what_the_reference_sends_is_read(operation: str) -> None:
    mine, reference = ours(operation), REFERENCE[operation]
    assert mine is not None
    query = {one["name"]: one["schema"]["type"] for one in mine["parameters"] if one["in"] == "query"}
    assert query == reference["query"]
    read = fields(body(mine["requestBody"])) if "requestBody" in mine else {}
    ignored = next((fields for end, fields in IGNORED.items() if operation.endswith(end)), set())
    for field, type in reference.get("request", {}).items():
        if field not in ignored:
            assert field in read
            assert type in (read[field], "string", "number"), field


@pytest.mark.parametrize("operation", sorted(REFERENCE))
def test_what_is_answered_is_in_the_reference(operation: str) -> None:
    mine, reference = ours(operation), REFERENCE[operation]
    assert mine is not None
    newer = next((fields for end, fields in NEWER.items() if operation.endswith(end)), ())
    for status, content in mine["responses"].items():
        if status == "default":
            continue
        for field, type in fields(body(content)).items():
            if not field.startswith(newer):
                known = reference["response"][status][field]
                assert known in (type, "string"), field


def test_no_operation_is_there_that_the_reference_does_not_have() -> None:
    mine = {f"{method.upper()} {path}" for path, methods in OURS["paths"].items() for method in methods}

    assert mine == REFERENCE.keys() | ADDED


@pytest.mark.anyio
async def test_the_document_can_be_fetched_by_anybody(app: App) -> None:
    answer = await app.http.get("/v1/openapi.json")

    assert answer.json()["paths"] == OURS["paths"]
    assert answer.headers["access-control-allow-origin"] == "*"


def ours(operation: str) -> Any:
    method, _, path = operation.partition(" ")
    return OURS["paths"].get(path, {}).get(method.lower())


def body(content: Any) -> Any:
    return content["content"]["application/json"]["schema"]


def fields(schema: Any, at: str = "") -> dict[str, str]:
    """Every field of a schema by its path, with its type or the values it may have."""
    if "$ref" in schema:
        return fields(OURS["components"]["schemas"][schema["$ref"].rpartition("/")[2]], at)
    if schema.get("type") == "array":
        return fields(schema["items"], at + "[]")
    if "properties" in schema:
        found: dict[str, str] = {}
        for name, inner in schema["properties"].items():
            found |= fields(inner, f"{at}.{name}" if at else name)
        return found
    if "const" in schema:
        return {at: schema["const"]}
    return {at: "|".join(schema["enum"]) if "enum" in schema else schema["type"]}
