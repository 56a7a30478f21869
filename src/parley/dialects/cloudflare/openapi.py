"""This API described by itself: an OpenAPI document made of the shapes that `wire` reads and writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from parley.dialects.cloudflare import wire

SESSION = "/apps/{appId}/sessions/{sessionId}"


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    path: str
    summary: str
    answers: tuple[tuple[int, type[BaseModel]], ...]
    takes: type[BaseModel] | None = None
    query: tuple[tuple[str, str], ...] = ()
    """Names and types of query parameters."""


OPERATIONS = (
    Operation(
        "post",
        "/apps/{appId}/sessions/new",
        "Make a session",
        ((201, wire.NewSession),),
        wire.SessionsNew,
        (("thirdparty", "boolean"), ("correlationId", "string")),
    ),
    Operation("get", SESSION, "What a session carries", ((200, wire.SessionState),)),
    Operation("post", f"{SESSION}/tracks/new", "Publish or pull tracks", ((200, wire.Tracks),), wire.TracksNew),
    Operation(
        "put", f"{SESSION}/tracks/update", "Change pulled tracks", ((200, wire.UpdatedTracks),), wire.TracksUpdate
    ),
    Operation("put", f"{SESSION}/tracks/close", "Close tracks", ((200, wire.ClosedTracks),), wire.TracksClose),
    Operation(
        "put", f"{SESSION}/renegotiate", "Answer the server's offer", ((200, wire.Renegotiated),), wire.Renegotiate
    ),
    Operation(
        "post",
        f"{SESSION}/datachannels/establish",
        "Bring data channels up",
        ((200, wire.Established),),
        wire.Establish,
    ),
    Operation(
        "post",
        f"{SESSION}/datachannels/new",
        "Publish or subscribe to data channels",
        ((200, wire.Channels),),
        wire.ChannelsNew,
    ),
    Operation(
        "put",
        f"{SESSION}/datachannels/update",
        "Let subscribers reply, or no longer",
        ((200, wire.Channels),),
        wire.ChannelsNew,
    ),
    Operation(
        "put", f"{SESSION}/datachannels/close", "Close data channels", ((200, wire.Channels),), wire.ChannelsClose
    ),
    Operation(
        "post",
        "/apps/{appId}/adapters/websocket/new",
        "Make adapters: none can be made yet",
        ((503, wire.Adapters),),
        wire.AdaptersNew,
    ),
    Operation(
        "post",
        "/apps/{appId}/adapters/websocket/close",
        "Close adapters: there are none yet",
        ((503, wire.ClosedAdapters),),
        wire.AdaptersClose,
    ),
)


def document(version: str) -> dict[str, Any]:
    """The document, as JSON has it."""
    read = [operation.takes for operation in OPERATIONS if operation.takes is not None]
    written = [shape for operation in OPERATIONS for _, shape in operation.answers] + [wire.Refusal]
    modes = [(shape, "validation") for shape in read] + [(shape, "serialization") for shape in written]
    names, schemas = models_json_schema(
        list(dict.fromkeys(modes)),  # type: ignore[arg-type]
        ref_template="#/components/schemas/{model}",
    )
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, names)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Cloudflare Realtime, as Parley speaks it", "version": version},
        "servers": [{"url": "/v1"}],
        "security": [{"secret": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"secret": {"type": "http", "scheme": "bearer"}},
            "schemas": _without_nulls(schemas.get("$defs", {})),
        },
    }


def _operation(operation: Operation, names: Any) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in ("appId", "sessionId")
        if f"{{{name}}}" in operation.path
    ]
    parameters += [{"name": name, "in": "query", "schema": {"type": type}} for name, type in operation.query]
    answers = {str(status): _json(names[shape, "serialization"]) for status, shape in operation.answers}
    found: dict[str, Any] = {
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {
            **{status: {"description": "Done", **content} for status, content in answers.items()},
            "default": {"description": "Refused", **_json(names[wire.Refusal, "serialization"])},
        },
    }
    if operation.takes is not None:
        found["requestBody"] = _json(names[operation.takes, "validation"])
    return found


def _json(schema: Any) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _without_nulls(schema: Any) -> Any:
    """What may be left out is left out, and never null."""
    if isinstance(schema, list):
        return [_without_nulls(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    options = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf" and (key, value) != ("default", None)}
    if len(options) == 1:
        rest |= options[0]
    elif options:
        rest["anyOf"] = options
    return {key: _without_nulls(value) for key, value in rest.items() if key != "title"}
