"""Holds every answer of this dialect's tests against its own OpenAPI document."""

from __future__ import annotations

import functools
import re
from typing import Any

import jsonschema_rs

from parley.dialects.cloudflare.openapi import document

DOCUMENT = document("1")


def check_shape(method: str, path: str, status: int, body: object) -> None:
    """Raise ValidationError unless this is what the document says of the operation.

    path: from the app on, such as `sessions/new`. A path the document does not have is answered with a refusal.
    """
    for template, operations in DOCUMENT["paths"].items():
        pattern = template.removeprefix("/apps/{appId}/").replace("{sessionId}", "(?!new$)[^/]+")
        if re.fullmatch(pattern, path.rstrip("/")) and method.lower() in operations:
            responses = operations[method.lower()]["responses"]
            _validator(template, method.lower(), str(status) if str(status) in responses else "default").validate(body)
            return
    assert status in (401, 404, 405)


@functools.cache
def _validator(path: str, method: str, status: str) -> Any:
    schema = DOCUMENT["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"]
    return jsonschema_rs.validator_for({**schema, "components": DOCUMENT["components"]})
